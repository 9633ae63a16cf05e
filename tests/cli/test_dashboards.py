"""`otel-queue dashboards` writes files that fit the metrics and spans of this package."""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from otel_queue_plugins.cli.dashboards.command import contents
from otel_queue_plugins.cli.main import main
from otel_queue_plugins.worker_http.prometheus_names import family
from tests import pages

FILES: Final = contents(["grafana", "prometheus", "datadog", "honeycomb"])
ROWS: Final = [
    [cell.strip("` ") for cell in line.split("|")[1:-1]]
    for line in pages.text("reference/telemetry").splitlines()
    if line.startswith("| `")
]
KINDS: Final = ("counter", "observable counter", "histogram", "observable gauge")
METRICS: Final = {row[0]: (row[1], row[2]) for row in ROWS if row[1] in KINDS}
ATTRIBUTES: Final = {row[0] for row in ROWS} | {"error.type"}
GENERIC: Final = {"job", "instance", "le", "service", "duration_ms"}


def prometheus_names() -> set[str]:
    """What Prometheus calls the metrics of the reference."""
    names: set[str] = set()
    for name, (kind, unit) in METRICS.items():
        is_counter = "counter" in kind
        text, _ = family(name, unit, "counter" if is_counter else "gauge")
        suffix = "_bucket" if kind == "histogram" else "_total" if is_counter else ""
        names.add(text + suffix)
    return names


def expressions() -> list[str]:
    """All queries for Prometheus: of the panels, the variables, and the rules."""
    board = json.loads(FILES["grafana/otel-queue.json"])
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    variables = [each["query"]["query"] for each in board["templating"]["list"][1:]]
    rules = FILES["prometheus/recording.yml"] + FILES["prometheus/alerts.yml"]
    return [*panels, *variables, rules]


def test_queries_name_metrics_that_exist() -> None:
    """In the names of Prometheus; the recorded ones have colons and are made here."""
    used = {
        name
        for text in expressions()
        for name in re.findall(
            r"(?<![:\w])(?:taskqueue|messaging)_[a-z_]+(?=[{\[)]|\s*$)", text, re.MULTILINE
        )
    }
    labels = {each.replace(".", "_") for each in ATTRIBUTES}
    assert used - labels <= prometheus_names()
    assert len(used - labels) > 10


def test_queries_name_labels_that_exist() -> None:
    """Those that are filtered and grouped by."""
    labels = {each.replace(".", "_") for each in ATTRIBUTES} | GENERIC
    for text in expressions():
        grouped = {
            each.strip()
            for group in re.findall(r"\bby\s*\(([^)]*)\)", text)
            for each in group.split(",")
        }
        filtered = set(re.findall(r"(\w+)=~?\"", text))
        assert grouped | filtered <= labels, text


def test_queries_for_datadog_name_metrics_and_tags_that_exist() -> None:
    """Datadog keeps the names of OpenTelemetry."""
    text = FILES["datadog/dashboard.json"] + FILES["datadog/monitors.json"]
    assert set(re.findall(r"(?:sum|min|max|p\d\d):([a-z_.]+)\{", text)) <= set(METRICS)
    for group in re.findall(r"by \{([^}]*)\}", text):
        assert set(group.split(",")) <= ATTRIBUTES | GENERIC


def test_queries_for_honeycomb_name_attributes_that_exist() -> None:
    """They are its columns."""
    every = json.loads(FILES["honeycomb/queries.json"]) + json.loads(
        FILES["honeycomb/triggers.json"]
    )
    for query in (each["query"] for each in every):
        columns = {each["column"] for each in query["calculations"] if "column" in each}
        columns |= {each["column"] for each in query["filters"]} | set(query["breakdowns"])
        assert columns <= ATTRIBUTES | GENERIC


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    """Grafana moves what overlaps, and links go to ids."""
    panels = json.loads(FILES["grafana/otel-queue.json"])["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert [panel["id"] for panel in panels] == [n for n, _ in zip(count(1), panels, strict=False)]


def test_histogram_panels_lead_to_traces() -> None:
    """By exemplars, and only they: other queries have none."""
    for panel in json.loads(FILES["grafana/otel-queue.json"])["panels"]:
        for target in panel.get("targets", ()):
            assert not target["exemplar"] or "_bucket" in target["expr"]


def written(directory: Path) -> dict[str, str]:
    """The files below a directory."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_all_files_are_written_and_named(tmp_path: Path, capsys: Any) -> None:
    """A second time, too, if they are as they were."""
    for _ in range(2):
        assert main(["dashboards", str(tmp_path / "new" / "deep")]) == 0
        assert written(tmp_path / "new" / "deep") == FILES
        named = capsys.readouterr().out.splitlines()
        assert named == [str(tmp_path / "new" / "deep" / name) for name in FILES]


def test_one_backend_alone(tmp_path: Path) -> None:
    """`--only` is repeatable."""
    assert main(["dashboards", str(tmp_path), "--only", "grafana", "--only", "honeycomb"]) == 0
    assert {name.split("/")[0] for name in written(tmp_path)} == {"grafana", "honeycomb"}


def test_changed_file_is_not_overwritten_unless_forced(tmp_path: Path, capsys: Any) -> None:
    """Nothing is written then, not even the others."""
    changed = tmp_path / "prometheus" / "alerts.yml"
    changed.parent.mkdir()
    changed.write_text("mine")
    assert main(["dashboards", str(tmp_path)]) == 4
    assert written(tmp_path) == {"prometheus/alerts.yml": "mine"}
    assert "--force" in capsys.readouterr().err
    assert main(["dashboards", str(tmp_path), "--force"]) == 0
    assert written(tmp_path) == FILES


def test_place_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: Any) -> None:
    """With the reason."""
    (tmp_path / "file").write_text("")
    assert main(["dashboards", str(tmp_path / "file")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot write" in line


def test_unknown_backend_names_the_choices(tmp_path: Path, capsys: Any) -> None:
    """As any wrong option does."""
    with pytest.raises(SystemExit) as ended:
        main(["dashboards", str(tmp_path), "--only", "kibana"])
    assert ended.value.code == 2
    assert "'kibana'" in capsys.readouterr().err
