"""How spans are started and values recorded: through the API, or by a shorter way if given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Link, Span, SpanKind, Tracer

Value = str | int | float | bool
StartSpan = Callable[[str, Context | None, SpanKind, dict[str, Value], Sequence[Link], int], Span]
Record = Callable[[float, Mapping[str, Value], Context], None]


class Shortcuts(Protocol):
    """Ways to do what the API does at less cost.

    `spans` and `bind` return None where there is none. A bound histogram wants attributes that
    live long, one dict per series.
    """

    def spans(self, tracer: Tracer) -> StartSpan | None:
        """`tracer.start_span`, shorter."""

    def put(self, span: Span, attributes: dict[str, Value]) -> None:
        """`span.set_attributes(attributes)`, shorter where possible."""

    def note(self, span: Span, name: str, at_ns: int) -> None:
        """`span.add_event(name, None, at_ns)`, shorter where possible."""

    def bind(self, histogram: Histogram) -> Record | None:
        """`histogram.record`, shorter."""


class Recording:
    """The functions in use for one tracer and its meter."""

    def __init__(self, tracer: Tracer, shortcuts: Shortcuts | None) -> None:
        self._shortcuts = shortcuts
        shorter = shortcuts.spans(tracer) if shortcuts else None
        self.start_span: StartSpan = shorter or tracer.start_span
        self.put = shortcuts.put if shortcuts else _put
        self.note = shortcuts.note if shortcuts else _note

    def of(self, histogram: Histogram) -> Record:
        """What records values of `histogram`."""
        shorter = self._shortcuts.bind(histogram) if self._shortcuts else None
        return shorter or histogram.record


def _put(span: Span, attributes: dict[str, Value]) -> None:
    span.set_attributes(attributes)


def _note(span: Span, name: str, at_ns: int) -> None:
    span.add_event(name, None, at_ns)
