"""Spans become trees."""

from __future__ import annotations

from otel_queue_plugins.cli.view.trace import traces, waiting_of
from tests.cli.spans import EPOCH_NS, TRACE, process, span

OTHER = "a" * 32


def _shape(spans):
    return [
        [("  " * len(row.branches)) + row.span.name for row in trace.rows]
        for trace in traces(spans)
    ]


def test_children_follow_their_parent_in_the_order_they_began() -> None:
    """A tree reads from top to bottom as things happened, whatever the order of arrival."""
    spans = [
        span("4", "late child", 5, 6, parent="1"),
        span("3", "grandchild", 3, 4, parent="2"),
        span("2", "early child", 2, 9, parent="1"),
        span("1", "root", 0, 10),
    ]
    assert _shape(spans) == [["root", "  early child", "    grandchild", "  late child"]]


def test_a_row_knows_which_of_its_ancestors_are_the_last_of_their_siblings() -> None:
    """Lines of the tree go on exactly where another sibling follows."""
    spans = [
        span("1", "root", 0, 9),
        span("2", "a", 1, 2, parent="1"),
        span("3", "b", 1, 2, parent="2"),
        span("4", "c", 3, 4, parent="1"),
    ]
    (trace,) = traces(spans)
    assert [row.branches for row in trace.rows] == [(), (False,), (False, True), (True,)]
    assert [row.has_children for row in trace.rows] == [True, True, False, False]


def test_a_span_whose_parent_never_came_is_a_root() -> None:
    """Nothing that arrived is hidden because something else did not."""
    spans = [span("2", "a", 1, 2, parent="gone"), span("3", "b", 0, 2, parent="also gone")]
    assert _shape(spans) == [["b", "a"]]


def test_spans_that_are_parents_of_each_other_are_shown_once() -> None:
    """Nothing of ours sends such; who draws what comes in from anywhere draws that, too."""
    spans = [
        span("1", "a", 1, 9, parent="2"),
        span("2", "b", 2, 9, parent="1"),
        span("3", "own parent", 3, 4, parent="3"),
        span("4", "root", 5, 6),
    ]
    assert _shape(spans) == [["root", "a", "  b", "own parent"]]


def test_chain_may_be_thousands_deep() -> None:
    """Each task of a chain is below the one that sent it."""
    spans = [span(str(n), "step", n, 9000, parent=str(n - 1) if n else "") for n in range(3000)]
    (trace,) = traces(spans)
    assert [len(row.branches) for row in trace.rows] == list(range(3000))


def test_traces_are_apart_and_the_earliest_comes_first() -> None:
    """One tree per trace id."""
    spans = [span("1", "second", 5, 6), span("1", "first", 0, 1, trace=OTHER)]
    assert [(each.trace_id, each.root.name) for each in traces(spans)] == [
        (OTHER, "first"),
        (TRACE, "second"),
    ]


def test_a_trace_lasts_from_its_first_start_to_its_last_end() -> None:
    """Also when a child outlives its parent, as tasks do."""
    (trace,) = traces([span("1", "root", 10, 20), span("2", "child", 15, 90, parent="1")])
    assert trace.duration_s == 0.08


def test_no_spans_are_no_traces() -> None:
    """Nothing to show is not an error."""
    assert traces([]) == []


def test_the_time_before_a_process_span_is_told_apart() -> None:
    """Scheduled, ready in the queue, held by the worker, running: each begins where it began."""
    waiting = waiting_of(
        process("1", "pay", 1000, 1100, "success", wait=0.3, prefetch_wait=0.1, scheduled_delay=0.5)
    )
    assert waiting is not None
    parts = (waiting.scheduled_ns, waiting.ready_ns, waiting.held_ns, waiting.start_ns)
    assert [(part - EPOCH_NS) // 1_000_000 for part in parts] == [200, 700, 900, 1000]


def test_a_span_that_says_nothing_of_waiting_has_none() -> None:
    """A send did not wait."""
    assert waiting_of(span("1", "send pay", 0, 1)) is None
