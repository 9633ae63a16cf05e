"""The page as a person sees it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from otel_queue_plugins.cli.view.page import print_metrics, print_traces
from otel_queue_plugins.cli.view.trace import traces
from tests.cli.spans import TRACE, counted, distributed, event, process, span

PAYMENT = (
    span("1", "POST /payments", 0, 40, kind="server"),
    span("2", "send charge_card", 10, 20, parent="1", kind="producer"),
    process(
        "3",
        "charge_card",
        100,
        200,
        "retry",
        parent="2",
        wait=0.08,
        attempt=1,
        events=(
            event("taskqueue.retry", 200, taskqueue__retry__delay=0.5, error__type="CardError"),
        ),
    ),
    process(
        "4",
        "charge_card",
        800,
        1000,
        "success",
        parent="2",
        links=("3",),
        wait=0.1,
        prefetch_wait=0.1,
        scheduled_delay=0.5,
        attempt=2,
    ),
)
AS_SEEN = """
A payment                                 trace 4bf92f3577b34da6a3ce929d0e0e4736
service span                          time    wait 0              1.00 s outcome
web     POST /payments               40 ms         █
web     └ send charge_card           10 ms         ▌
worker    ├ process charge_card     100 ms   80 ms ░░██▌                 retry
          │   ◆ taskqueue.retry +100 ms · delay 500 ms · CardError
worker    └ process charge_card #2  200 ms  100 ms     ··········▒▒█████ success
              ↪ link to process charge_card

██ running  ░░ waits in queue  ▒▒ waits in worker  ·· not due  #2 2nd attempt
"""


class _Utf8(io.StringIO):
    encoding = "utf-8"


class _Ascii(io.StringIO):
    encoding = "ascii"


def _page(spans, *, width: int = 80, file: io.StringIO | None = None, **console) -> str:
    file = file or _Utf8()
    print_traces(Console(file=file, width=width, **console), traces(spans), {TRACE: "A payment"})
    return file.getvalue()


def test_a_trace_at_80_columns() -> None:
    """Service, span, time, wait, the time line and the outcome; events and links below."""
    assert _page(PAYMENT) == AS_SEEN


def test_the_time_line_gets_the_room_there_is() -> None:
    """A wider terminal shows more detail, and no name is cut."""
    page = _page(PAYMENT, width=120)
    assert max(len(line) for line in page.splitlines()) == 120
    assert "process charge_card #2 " in page
    assert "…" not in page


def test_very_wide_terminals_are_not_filled() -> None:
    """The eye has to find its way back to the start of the line."""
    assert max(len(line) for line in _page(PAYMENT, width=400).splitlines()) == 140


def test_no_escape_sequences_outside_a_terminal() -> None:
    """A file or a pipe gets text."""
    assert "\x1b" not in _page(PAYMENT)


def test_a_terminal_gets_colours_by_outcome() -> None:
    """Green for success, yellow for a retry, red for what is lost."""
    failed = process("5", "pay", 300, 400, "dead_letter", parent="2")
    page = _page([*PAYMENT, failed], force_terminal=True, color_system="standard")
    assert "\x1b[32msuccess" in page
    assert "\x1b[33mretry" in page
    assert "\x1b[31mdead letter" in page


def test_a_terminal_without_unicode_gets_ascii() -> None:
    """`LC_ALL=C` is no reason to fail."""
    page = _page(PAYMENT, file=_Ascii())
    assert page.isascii()
    assert "` process charge_card #2  200 ms  100 ms     ..........==##### success\n" in page
    assert "-> link to process charge_card\n" in page


@given(
    width=st.integers(60, 200),
    depth=st.integers(1, 30),
    name=st.text("abc ", min_size=1, max_size=60),
)
def test_no_line_is_wider_than_the_terminal(width: int, depth: int, name: str) -> None:
    """Deep trees and long names are cut, never wrapped."""
    spans = [
        process(str(level), name, level, 99, "success", parent=str(level - 1), service=name)
        for level in range(depth)
    ]
    lines = _page(spans, width=width).splitlines()
    assert all(len(line) <= width for line in lines[:-2])


def test_nothing_is_printed_of_nothing() -> None:
    """No traces, no captions; no metrics, no table."""
    file = _Utf8()
    print_traces(Console(file=file), [], {})
    print_metrics(Console(file=file), [])
    assert file.getvalue() == ""


@pytest.mark.parametrize("width", [80, 120])
def test_metrics_are_one_line_per_instrument(width: int) -> None:
    """Totals by outcome or task, distributions with their limits, gauges as they are."""
    file = _Utf8()
    points = [
        counted("messaging.client.consumed.messages", 3, task="pay", outcome="success"),
        counted("messaging.client.consumed.messages", 1, task="pay", outcome="retry"),
        distributed(
            "messaging.process.duration",
            {0.005: 0, 0.01: 8, 0.025: 0, 0.05: 4, 0.1: 0},
            total=0.24,
            outcome="success",
        ),
        counted("taskqueue.worker.in_flight", 2, kind="gauge", task="pay"),
    ]
    print_metrics(Console(file=file, width=width), points)
    assert file.getvalue() == (
        "\n"
        "metric                                  value\n"
        "messaging.client.consumed.messages          4  success 3 · retry 1\n"
        "messaging.process.duration          avg 20 ms  12 ×  5 ms █ ▄ 50 ms\n"  # noqa: RUF001
        "taskqueue.worker.in_flight                  2\n"
    )
