"""docs/reference/configuration.md says what the code defines."""

from __future__ import annotations

import re
from typing import Any

import pytest

from otel_queue_plugins.core import options
from otel_queue_plugins.sdk.config import installed, plan, specified, variable_names
from otel_queue_plugins.sdk.config.variable_names import OURS
from otel_queue_plugins.sdk.fastpath import gate
from tests import configuration_page

PAGE = configuration_page.current()


def test_page_has_the_generated_tables() -> None:
    """If not, `python -m tests.configuration_page` writes them."""
    assert configuration_page.generated() == PAGE


def test_page_has_text_values_and_default_of_each_variable() -> None:
    """For each variable of this package."""
    for setting in variable_names.SETTINGS:
        assert setting.text
        row = next(line for line in PAGE.splitlines() if f"| `{setting.variable}` |" in line)
        assert all(cell.strip() for cell in row.strip("|").split("|")[2:])


def test_plan_reads_no_variable_without_a_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name of OpenTelemetry that is looked up has a row, or is known to have no effect."""
    asked: set[str] = set()

    class Asking(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    monkeypatch.setattr(installed, "entry_points_of", lambda *_, **__: ())
    plan.read(
        Asking(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318", OTEL_LOGS_EXPORTER="otlp")
    )
    names = {name for name in asked if name.startswith("OTEL_")}
    assert names
    assert names <= {*specified.NAMES, *variable_names.OURS}


def test_page_has_a_row_for_each_variable_of_ours() -> None:
    """And no row for one that does not exist."""
    rows = re.findall(r"^\| `(OTEL_QUEUE_\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(OURS)


def test_page_has_each_option_beside_its_variable() -> None:
    """With its name as an argument."""
    for name, setting in options.SETTINGS.items():
        assert f"| `{setting.variable}` | `{name}` |" in PAGE


def test_page_has_the_table_of_proven_versions() -> None:
    """For every part of the fast path."""
    words = {"yes": "proven", "not needed": "not_needed"}
    heading, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if re.match(r"\| (opentelemetry-sdk|1\.\d+) \|", line)
    ]
    assert heading[1:] == list(gate.PARTS)
    for column, part in enumerate(heading[1:], 1):
        documented = {row[0]: words[row[column]] for row in rows}
        used = {
            version: kind
            for kind in ("proven", "not_needed")
            for version in getattr(gate.PARTS[part], kind)
        }
        assert documented == used


def test_page_has_the_costs_without_the_fast_path() -> None:
    """In microseconds per message, in the order of the columns."""
    *most, last = [part.cost.removesuffix(" us") for part in gate.PARTS.values()]
    assert f"about {', '.join(most)} and {last} us, in the order of the columns" in PAGE
