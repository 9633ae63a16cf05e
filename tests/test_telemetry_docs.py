"""The reference page and the code have the same names."""

from __future__ import annotations

import re
from pathlib import Path

import otel_queue_plugins
from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.messages import Outcome

ROOT = Path(otel_queue_plugins.__file__).parent
PAGE = ROOT.parent / "docs" / "reference" / "telemetry.md"
NO_NAMES = {"SCHEMA_URL", "SCOPE"}
SPANS = {
    *("send {task}", "process {task}", "ack {queue}", "receive {queue}"),
    *("requeue {queue}", "queues"),
}
NAMESPACES = re.compile(r"^(taskqueue|messaging|celery|dramatiq)\.[a-z_.]*[a-z]$")


def emitted() -> set[str]:
    """The names in `semconv`."""
    return {
        value
        for name, value in vars(semconv).items()
        if name.isupper() and isinstance(value, str) and name not in NO_NAMES
    }


def first_cells() -> set[str]:
    """What the tables of the page define: the first cell of each row, if it is one name."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {row.split("`")[1] for row in rows}


def test_emitted_name_has_a_row() -> None:
    """Every name that leaves the process is documented."""
    assert emitted() - first_cells() == set()


def test_documented_name_is_emitted() -> None:
    """No row describes a name that does not exist."""
    outcomes = {outcome.value for outcome in Outcome}
    assert first_cells() - emitted() - outcomes - SPANS == set()


def test_outcome_has_a_row() -> None:
    """The table of outcomes is complete."""
    assert {outcome.value for outcome in Outcome} <= first_cells()


def test_name_in_any_sentence_of_the_page_exists() -> None:
    """Also in sentences and in other columns."""
    mentioned = set(re.findall(r"`([^`\n]+)`", PAGE.read_text()))
    assert {name for name in mentioned if NAMESPACES.match(name)} - emitted() == set()


def test_constant_of_semconv_is_used() -> None:
    """A name that no code emits is not in `semconv`."""
    code = "\n".join(path.read_text() for path in ROOT.rglob("*.py") if path.name != "semconv.py")
    unused = {
        name for name in vars(semconv) if name.isupper() and not re.search(rf"\b{name}\b", code)
    }
    assert unused == set()


def test_emitted_name_is_written_in_semconv_only() -> None:
    """Other modules use the constants."""
    found = set()
    for part in ("core", "celery", "dramatiq", "sdk"):
        for path in (ROOT / part).rglob("*.py"):
            if path.name != "semconv.py":
                found |= set(re.findall(r"\"(taskqueue\.[a-z_.]+)\"", path.read_text()))
    assert found == set()


def test_attribute_name_has_a_namespace() -> None:
    """A name without one would mean something else to each backend."""
    single = {name for name in emitted() if "." not in name}
    assert single == {semconv.EVENT_EXCEPTION, semconv.CARRIER_KEY}
