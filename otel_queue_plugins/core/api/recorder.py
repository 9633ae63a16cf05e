"""The functions that start spans and record values: those of the API, or of a fast path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Link, Span, SpanKind, Tracer

Value = str | int | float | bool | tuple[str, ...]
Describe = Callable[[], tuple[dict[str, Value], Sequence[Link]]]
"""Returns the attributes and the links of a span, which then belong to it."""
BeginSpan = Callable[[str, Context, SpanKind, Describe, int], Span]
SetAttributes = Callable[[Span, dict[str, Value]], None]
Kept = Callable[[dict[str, Value]], dict[str, Value]]
Record = Callable[[float, Mapping[str, Value], Context], None]


class FastPath(Protocol):
    """Functions with the same effect as the API's, at less cost.

    `spans` and `bind` return None where there is no such function. A bound histogram needs
    attributes that are not changed afterwards, one dict for each series.
    """

    def spans(self, tracer: Tracer) -> BeginSpan | None:
        """The function to use as `Recorder.begin_span`."""

    def set_attributes(self, span: Span, attributes: dict[str, Value]) -> None:
        """Do as `span.set_attributes(attributes)`."""

    def add_event(self, span: Span, event: str, at_ns: int) -> None:
        """Do as `span.add_event(event, None, at_ns)`."""

    def bind(self, histogram: Histogram) -> Record | None:
        """The function to use as `histogram.record`."""


class Recorder:
    """The functions in use for one tracer and its meter.

    `kept` returns those attributes of a span that may leave; None if all may.
    """

    def __init__(
        self, tracer: Tracer, fast_path: FastPath | None, kept: Kept | None = None
    ) -> None:
        self._fast_path = fast_path
        self._tracer = tracer
        begin_span = fast_path.spans(tracer) if fast_path else None
        self.begin_span: BeginSpan = begin_span or self._begin_span
        self.set_attributes: SetAttributes = (
            fast_path.set_attributes if fast_path else _set_attributes
        )
        if kept is not None:
            self.begin_span = _begin_with(kept, self.begin_span)
            self.set_attributes = _set_with(kept, self.set_attributes)
        self.add_event = fast_path.add_event if fast_path else _add_event

    def start_span(
        self,
        name: str,
        context: Context,
        kind: SpanKind,
        attributes: dict[str, Value],
        links: Sequence[Link],
        start_time: int,
    ) -> Span:
        """Do as `tracer.start_span`; `attributes` then belongs to the span."""
        return self.begin_span(name, context, kind, lambda: (attributes, links), start_time)

    def record_of(self, histogram: Histogram) -> Record:
        """The function that records values of `histogram`."""
        bound = self._fast_path.bind(histogram) if self._fast_path else None
        return bound or histogram.record

    def _begin_span(
        self, name: str, context: Context, kind: SpanKind, describe: Describe, start_time: int
    ) -> Span:
        """Start a span with the attributes and links that `describe` returns.

        A fast path calls `describe` only for spans that are recorded.
        """
        attributes, links = describe()
        return self._tracer.start_span(name, context, kind, attributes, links, start_time)


def _begin_with(kept: Kept, begin: BeginSpan) -> BeginSpan:
    def begin_span(
        name: str, context: Context, kind: SpanKind, describe: Describe, start_time: int
    ) -> Span:
        def described() -> tuple[dict[str, Value], Sequence[Link]]:
            attributes, links = describe()
            return kept(attributes), links

        return begin(name, context, kind, described, start_time)

    return begin_span


def _set_with(kept: Kept, set_all: SetAttributes) -> SetAttributes:
    return lambda span, attributes: set_all(span, kept(attributes))


def _set_attributes(span: Span, attributes: dict[str, Value]) -> None:
    span.set_attributes(attributes)


def _add_event(span: Span, event: str, at_ns: int) -> None:
    span.add_event(event, None, at_ns)
