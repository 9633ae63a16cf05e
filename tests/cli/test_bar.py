"""Bars are drawn to scale."""

from __future__ import annotations

import pytest

from otel_queue_plugins.cli.view.bar import Scale, draw
from otel_queue_plugins.cli.view.glyphs import ASCII, UNICODE
from tests.cli.spans import EPOCH_NS, process, span

TEN_CELLS = Scale(start_ns=EPOCH_NS, end_ns=EPOCH_NS + 100_000_000, width=10)


@pytest.mark.parametrize(
    ("start", "end", "drawn"),
    [
        (0, 100, "██████████"),
        (0, 50, "█████     "),
        (50, 100, "     █████"),
        (45, 60, "    ▐█    "),
        (40, 55, "    █▌    "),
        (0, 0, "▌         "),
        (100, 100, "         ▐"),
        (-50, 200, "██████████"),
    ],
)
def test_a_bar_covers_the_cells_of_its_time(start: float, end: float, drawn: str) -> None:
    """Ten milliseconds are one cell here, five are half a one, and nothing is invisible."""
    assert draw(span("1", "x", start, end), TEN_CELLS, "green", UNICODE).plain == drawn


def test_what_came_before_the_start_is_drawn_before_the_bar() -> None:
    """Twenty ms scheduled, thirty in the queue, ten inside the worker, then twenty of running."""
    waited = process(
        "1", "pay", 70, 90, "success", wait=0.04, prefetch_wait=0.01, scheduled_delay=0.02
    )
    assert draw(waited, TEN_CELLS, "green", UNICODE).plain == " ··░░░▒██ "
    assert draw(waited, TEN_CELLS, "green", ASCII).plain == " ..---=## "


def test_there_is_no_gap_between_a_wait_and_what_it_was_for() -> None:
    """A bar that would begin in the middle of a cell of waiting takes all of it."""
    waited = process("1", "pay", 55, 90, "success", wait=0.035)
    assert draw(waited, TEN_CELLS, "green", UNICODE).plain == "  ░░░████ "


def test_a_wait_from_before_the_trace_is_cut_off() -> None:
    """The clocks of two machines may disagree; the picture keeps its width."""
    waited = process("1", "pay", 20, 100, "success", wait=9.0)
    assert draw(waited, TEN_CELLS, "green", UNICODE).plain == "░░████████"


def test_a_trace_without_extent_can_be_drawn() -> None:
    """One span that took no time at all."""
    scale = Scale(start_ns=EPOCH_NS, end_ns=EPOCH_NS, width=3)
    assert draw(span("1", "x", 0, 0), scale, "green", UNICODE).plain == "▌  "
