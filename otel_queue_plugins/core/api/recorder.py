"""How spans are started and values recorded: through the API, or by a shorter way if given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Link, Span, SpanKind, Tracer

Value = str | int | float | bool
About = Callable[[], tuple[dict[str, Value], Sequence[Link]]]
BeginSpan = Callable[[str, Context, SpanKind, About, int], Span]
Record = Callable[[float, Mapping[str, Value], Context], None]


class FastPath(Protocol):
    """Ways to do what the API does at less cost.

    `spans` and `bind` return None where there is none. A bound histogram wants attributes that
    live long, one dict per series.
    """

    def spans(self, tracer: Tracer) -> BeginSpan | None:
        """As `Recording.begin_span`, shorter."""

    def set_attributes(self, span: Span, attributes: dict[str, Value]) -> None:
        """`span.set_attributes(attributes)`, shorter where possible."""

    def add_event(self, span: Span, event: str, at_ns: int) -> None:
        """`span.add_event(event, None, at_ns)`, shorter where possible."""

    def bind(self, histogram: Histogram) -> Record | None:
        """`histogram.record`, shorter."""


class Recorder:
    """The functions in use for one tracer and its meter."""

    def __init__(self, tracer: Tracer, fast_path: FastPath | None) -> None:
        self._fast_path = fast_path
        self._tracer = tracer
        shorter = fast_path.spans(tracer) if fast_path else None
        self.begin_span: BeginSpan = shorter or self._begin_span
        self.set_attributes = fast_path.set_attributes if fast_path else _put
        self.add_event = fast_path.add_event if fast_path else _note

    def start_span(
        self,
        name: str,
        context: Context,
        kind: SpanKind,
        attributes: dict[str, Value],
        links: Sequence[Link],
        start_time: int,
    ) -> Span:
        """`tracer.start_span`; `attributes` now belongs to the span."""
        return self.begin_span(name, context, kind, lambda: (attributes, links), start_time)

    def of(self, histogram: Histogram) -> Record:
        """What records values of `histogram`."""
        shorter = self._fast_path.bind(histogram) if self._fast_path else None
        return shorter or histogram.record

    def _begin_span(
        self, name: str, context: Context, kind: SpanKind, about: About, start_time: int
    ) -> Span:
        """Start a span with the attributes and links that `about` returns.

        It is not called where nobody would see them.
        """
        attributes, links = about()
        return self._tracer.start_span(name, context, kind, attributes, links, start_time)


def _put(span: Span, attributes: dict[str, Value]) -> None:
    span.set_attributes(attributes)


def _note(span: Span, event: str, at_ns: int) -> None:
    span.add_event(event, None, at_ns)
