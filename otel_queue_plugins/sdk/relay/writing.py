"""Many measurements of one series, recorded with an instrument of the SDK."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags

from otel_queue_plugins.core.api.context import with_span
from otel_queue_plugins.sdk import fastpath
from otel_queue_plugins.sdk.relay import measured

if TYPE_CHECKING:
    from otel_queue_plugins.core.metrics.tally import Tally
    from otel_queue_plugins.sdk.relay.shapes import Places

# Not an empty one, for which the SDK would take the current one.
_NO_SPAN: Final = with_span(INVALID_SPAN, Context())


class Values:
    """Of one series, with the places where they were measured."""

    __slots__ = ("_places", "_starts", "all")

    def __init__(self) -> None:
        self.all: list[float] = []
        self._starts: list[int] = []
        self._places: list[Places] = []

    def add(self, values: Sequence[float], places: Places) -> None:
        """Those of one shape."""
        self._starts.append(len(self.all))
        self._places.append(places)
        self.all += values

    def sampled(self) -> bytes:
        """For each of them, whether in a sampled span."""
        return b"".join([places.sampled() for places in self._places])

    def where(self, index: int) -> tuple[Context, int]:
        """The context of one, and when it was measured, in nanoseconds since the epoch."""
        at = bisect_right(self._starts, index) - 1
        places, index = self._places[at], index - self._starts[at]
        return _context(*places.context(index)), places.times[index]

    def last(self) -> int:
        """The one that was measured last. Of one message that is the one that was packed last."""
        times = [at for places in self._places for at in places.times]
        return max(range(len(times)), key=lambda index: (times[index], index))


Write = Callable[[Any, Values], None]
"""Takes the attributes of the series first."""


def of(instrument: Any, kind: int) -> Write:
    """What records with an `instrument` of the SDK."""
    ways = fastpath.merge(instrument)
    if kind == measured.HISTOGRAM:
        return _into_histogram(instrument, ways)
    if kind == measured.GAUGE:
        return _into_gauge(_recorder(instrument.set, ways))
    return _into_sum(_recorder(instrument.add, ways))


def into_tally(tally: Tally) -> Write:
    """What counts; in the place of attributes comes a cell of `tally`."""
    return lambda cell, values: tally.add_many(cell, int(sum(values.all)))


def nowhere(_attributes: Any, _values: Values) -> None:
    """For what cannot be recorded."""


_Record = Callable[[float, Any, Context, int], None]


def _recorder(method: Callable[..., None], ways: fastpath.Merge | None) -> _Record:
    if ways is not None:
        return ways.record
    return lambda value, attributes, context, _: method(value, attributes, context)


def _into_gauge(record: _Record) -> Write:
    def write(attributes: Any, values: Values) -> None:
        last = values.last()
        record(values.all[last], attributes, *values.where(last))

    return write


def _into_sum(record: _Record) -> Write:
    """All but one at once; that one may be an exemplar."""

    def write(attributes: Any, values: Values) -> None:
        chosen = max(values.sampled().rfind(1), 0)
        context, at_ns = values.where(chosen)
        others = [*values.all[:chosen], *values.all[chosen + 1 :]]
        if others:
            record(sum(others), attributes, _NO_SPAN, at_ns)
        record(values.all[chosen], attributes, context, at_ns)

    return write


def _into_histogram(instrument: Any, ways: fastpath.Merge | None) -> Write:
    """At once if that can be had."""

    def write(attributes: Any, values: Values) -> None:
        if ways is None:
            for index, value in enumerate(values.all):
                instrument.record(value, attributes, values.where(index)[0])
            return
        sampled = values.sampled()
        if 1 not in sampled:  # a user's filter may want others
            sampled = b"\1" * len(sampled)
        ways.merge(values.all, attributes, sampled, values.where)

    return write


def _context(trace_id: int, span_id: int, flags: int) -> Context:
    if not trace_id:
        return _NO_SPAN
    span = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags))
    return with_span(NonRecordingSpan(span), Context())
