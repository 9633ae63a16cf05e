"""Spans that arrive, gathered to traces, until each is complete or quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.messages import Outcome

QUIET_S: Final = 2.0
MOST_TRACES: Final = 1_000
MOST_SPANS: Final = 5_000
_UNFINISHED: Final = {Outcome.RETRY.value, Outcome.REQUEUED.value}


class Gathered:
    """The spans of one trace, and whether they have been shown."""

    __slots__ = ("changed_at", "shown", "spans")

    def __init__(self) -> None:
        self.spans: dict[str, ReceivedSpan] = {}
        self.changed_at = 0.0
        self.shown = 0

    @property
    def is_due(self) -> bool:
        """Whether it has spans that were not shown."""
        return len(self.spans) > self.shown


class Gathering:
    """The last 1,000 traces, with at most 5,000 spans each. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._traces: dict[str, Gathered] = {}

    def add(self, spans: Iterable[ReceivedSpan]) -> None:
        """Take spans in."""
        for span in spans:
            found = self._traces.get(span.trace_id)
            if found is None:
                if len(self._traces) >= MOST_TRACES:
                    del self._traces[next(iter(self._traces))]
                found = self._traces[span.trace_id] = Gathered()
            if len(found.spans) < MOST_SPANS:
                found.spans[span.span_id] = span
                found.changed_at = self._clock()

    def spans_of(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace, as far as they are there."""
        found = self._traces.get(trace_id)
        return list(found.spans.values()) if found else []

    def due(self) -> Iterator[tuple[list[ReceivedSpan], bool]]:
        """The spans of each trace to show now, and whether a part of it was shown before."""
        now = self._clock()
        for found in list(self._traces.values()):
            if found.is_due and (is_complete(found.spans) or now - found.changed_at >= QUIET_S):
                is_continued, found.shown = bool(found.shown), len(found.spans)
                yield list(found.spans.values()), is_continued

    def seconds_left(self) -> float | None:
        """Until the next trace is quiet; None if there is none to show."""
        waiting = [each.changed_at for each in self._traces.values() if each.is_due]
        return max(0.0, min(waiting) + QUIET_S - self._clock()) if waiting else None


def is_complete(spans: dict[str, ReceivedSpan]) -> bool:
    """Whether nothing more is to be expected of a trace.

    It has a root, no span waits for its parent, each message that was sent was processed, and
    none will be tried again.
    """
    parents = {span.parent_id for span in spans.values()}
    if "" not in parents or not parents - {""} <= spans.keys():
        return False
    attempts: dict[object, ReceivedSpan] = {}
    for span in spans.values():
        if _operation(span) == "process":
            message = span.attributes.get(semconv.MESSAGING_MESSAGE_ID)
            last = attempts.get(message)
            if last is None or last.start_ns < span.start_ns:
                attempts[message] = span
    sent = {
        span.attributes.get(semconv.MESSAGING_MESSAGE_ID)
        for span in spans.values()
        if _operation(span) == "send" and span.status != "error"
    }
    is_final = all(
        span.attributes.get(semconv.TASK_OUTCOME) not in _UNFINISHED for span in attempts.values()
    )
    return is_final and sent <= attempts.keys()


def _operation(span: ReceivedSpan) -> object:
    return span.attributes.get(semconv.MESSAGING_OPERATION_TYPE)
