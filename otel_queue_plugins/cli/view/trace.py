"""Received spans put in order: traces, and in each of them a tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.core import semconv


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A span in its tree. `branches` says, from the root down, which ancestors are the last child.

    Empty for a root; the last entry is about the span itself.
    """

    span: ReceivedSpan
    branches: tuple[bool, ...]
    has_children: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All spans of one trace, as rows in tree order. Times are nanoseconds since the epoch."""

    trace_id: str
    rows: tuple[Row, ...]
    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        """Seconds from the first start to the last end."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def root(self) -> ReceivedSpan:
        """The first span of the tree."""
        return self.rows[0].span


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The time before a process span, each part up to the start of the next one.

    Scheduled from `scheduled_ns`, ready in the queue from `ready_ns`, in the hands of the worker
    from `held_ns`, running from `start_ns`.
    """

    scheduled_ns: int
    ready_ns: int
    held_ns: int
    start_ns: int


def traces(spans: Iterable[ReceivedSpan]) -> list[Trace]:
    """The traces that `spans` make, the earliest first.

    A span whose parent is not among them is a root.
    """
    by_trace: dict[str, dict[str, ReceivedSpan]] = defaultdict(dict)
    for span in spans:
        by_trace[span.trace_id][span.span_id] = span
    found = [_trace(trace_id, spans) for trace_id, spans in by_trace.items()]
    return sorted(found, key=lambda trace: trace.start_ns)


def waiting_of(span: ReceivedSpan) -> Waiting | None:
    """How `span` came to wait, None where it says nothing about that."""
    wait = span.attributes.get(semconv.TASK_WAIT)
    if wait is None:
        return None
    held = span.attributes.get(semconv.TASK_PREFETCH_WAIT) or 0.0
    scheduled = span.attributes.get(semconv.TASK_SCHEDULED_DELAY) or 0.0
    ready_ns = span.start_ns - int(wait * 1e9)
    return Waiting(
        scheduled_ns=ready_ns - int(scheduled * 1e9),
        ready_ns=ready_ns,
        held_ns=span.start_ns - int(held * 1e9),
        start_ns=span.start_ns,
    )


def _trace(trace_id: str, spans: Mapping[str, ReceivedSpan]) -> Trace:
    ordered = sorted(spans.values(), key=lambda span: (span.start_ns, -span.end_ns))
    children: dict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in ordered:
        children[span.parent_id if span.parent_id in spans else ""].append(span)
    placed: set[str] = set()
    rows = [row for span in children[""] for row in _rows(span, children, placed)]
    for span in ordered:  # parents of each other have no root above them
        rows += _rows(span, children, placed)
    return Trace(
        trace_id=trace_id,
        rows=tuple(rows),
        start_ns=min(span.start_ns for span in spans.values()),
        end_ns=max(span.end_ns for span in spans.values()),
    )


def _rows(
    root: ReceivedSpan, children: Mapping[str, Sequence[ReceivedSpan]], placed: set[str]
) -> Iterator[Row]:
    """The rows of a root and of all below it; a chain of tasks may be thousands deep."""
    waiting: list[tuple[ReceivedSpan, tuple[bool, ...]]] = [(root, ())]
    while waiting:
        span, branches = waiting.pop()
        if span.span_id in placed:
            continue
        placed.add(span.span_id)
        below = children.get(span.span_id, ())
        yield Row(span=span, branches=branches, has_children=bool(below))
        waiting += [(child, (*branches, place == 0)) for place, child in enumerate(reversed(below))]
