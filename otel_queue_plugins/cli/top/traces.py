"""Where the spans of a message's trace come from, if from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from otel_queue_plugins.cli.received import ReceivedSpan

TraceSource = Callable[[str], list[ReceivedSpan]]
"""The spans of the trace with an id; ValueError with a line about what went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTrace:
    """The spans of a trace, as far as there are any, and what went wrong on the way."""

    spans: tuple[ReceivedSpan, ...]
    problems: tuple[str, ...]


def found(sources: Sequence[TraceSource], trace_id: str) -> FoundTrace:
    """What all sources together have of a trace."""
    spans: dict[str, ReceivedSpan] = {}
    problems: list[str] = []

    def take(source: TraceSource) -> None:
        try:
            spans.update({span.span_id: span for span in source(trace_id)})
        except ValueError as error:
            problems.append(str(error))

    for source in sources:
        take(source)
    return FoundTrace(spans=tuple(spans.values()), problems=tuple(problems))
