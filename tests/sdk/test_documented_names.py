"""docs/reference/configuration.md names what there is."""

from __future__ import annotations

import re

from otel_queue_plugins.core import options
from otel_queue_plugins.sdk.config.misspelt import OURS
from otel_queue_plugins.sdk.fastpath import gate
from tests.environment import ROOT

PAGE = (ROOT / "docs" / "reference" / "configuration.md").read_text()


def test_every_variable_of_ours_has_a_row() -> None:
    """And none that does not exist has one."""
    rows = re.findall(r"^\| `(OTEL_QUEUE_\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(OURS)


def test_every_option_stands_beside_its_variable() -> None:
    """By the name it has as an argument."""
    for name, variable in options.VARIABLES.items():
        assert f"| `{variable}` | `{name}` |" in PAGE


def test_the_table_of_proven_versions_is_the_one_in_use() -> None:
    """Part by part, and no part is missing."""
    words = {"yes": "proven", "not needed": "not_needed"}
    heading, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if re.match(r"\| (opentelemetry-sdk|1\.\d+) \|", line)
    ]
    assert heading[1:] == list(gate._PARTS)
    for column, part in enumerate(heading[1:], 1):
        documented = {row[0]: words[row[column]] for row in rows}
        used = {
            version: kind
            for kind in ("proven", "not_needed")
            for version in getattr(gate._PARTS[part], kind)
        }
        assert documented == used


def test_what_is_lost_without_it_stands_there() -> None:
    """In microseconds a message, in the order of the columns."""
    *most, last = [part.cost.removesuffix(" us") for part in gate._PARTS.values()]
    assert f"about {', '.join(most)} and {last} us for the five" in PAGE
