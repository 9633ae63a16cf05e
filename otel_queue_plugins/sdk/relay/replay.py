"""What processes of a worker have handed over, taken as if it had been recorded here."""

from __future__ import annotations

import logging
import marshal
from collections.abc import Callable, Iterable, Mapping
from math import frexp
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags

from otel_queue_plugins.core.api.context import with_span
from otel_queue_plugins.sdk import fastpath
from otel_queue_plugins.sdk.relay import measured
from otel_queue_plugins.sdk.relay.instruments import real_instrument
from otel_queue_plugins.sdk.relay.measured import Instrument

if TYPE_CHECKING:
    from otel_queue_plugins.core.metrics.observed import Counts

logger = logging.getLogger("otel_queue_plugins")

Record = Callable[[float, Any, Any], object]
Bound = tuple[Record, Any]

# Not an empty one, for which the SDK would take the current one.
_NO_SPAN: Final = with_span(INVALID_SPAN, Context())
_NO_ATTRIBUTES: Final[dict[str, Any]] = {}
_MOST_SETS: Final = 4096


class Replay:
    """Records measurements of other processes with instruments of this one."""

    def __init__(self, provider: Any, counts: Counts) -> None:
        self._provider = provider
        self._instruments: dict[Instrument, Record] = {}
        self._sets: dict[bytes, Any] = {}
        self._tallies = {measured.SENT: counts.sent, measured.CONSUMED: counts.consumed}

    def bind(self, about: Any, attributes: Mapping[str, Any] | None) -> Bound:
        """What records values of one series, and the attributes to call it with."""
        instrument = Instrument(*about)
        tally = self._tallies.get(instrument.kind)
        if tally is not None:
            cell = tally.remote_cell(attributes or {})
            return lambda value, known, _: tally.add_many(known, int(value)), cell
        found = self._instruments.get(instrument)
        if found is None:
            found = self._instruments[instrument] = self._recorder(instrument)
        return found, self._one_of_equals(attributes)

    def _recorder(self, instrument: Instrument) -> Record:
        """One that records nothing for an instrument that the SDK refuses."""
        try:
            real = real_instrument(self._provider, instrument)
        except Exception as error:  # noqa: BLE001 - whatever a user's process has asked for
            logger.warning("%s cannot be measured: %s", instrument.name, error)
            return _nothing
        if instrument.kind == measured.HISTOGRAM:
            shorter: Record = fastpath.bind(real) or real.record
            return shorter
        record: Record = real.set if instrument.kind == measured.GAUGE else real.add
        return record

    def _one_of_equals(self, attributes: Mapping[str, Any] | None) -> Any:
        """The same dict for all processes: the shortest way to record knows it by identity."""
        if not attributes:
            return _NO_ATTRIBUTES
        if len(self._sets) >= _MOST_SETS:
            self._sets.clear()
        return self._sets.setdefault(marshal.dumps(dict(attributes), 2), attributes)


class Exemplars:
    """Which measurements point to their span, of those that are read at one time.

    Of the values of a series that are about equal (by a factor of 2) only the first: more would not
    be kept either, and to offer one costs as much as to record three.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[int, int, int]] = set()

    def is_due(self, bound: Bound, value: float) -> bool:
        """Whether it is the first of its kind."""
        key = (id(bound[0]), id(bound[1]), frexp(value)[1])
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def run(
    series: Mapping[int, Bound],
    contexts: list[tuple[int, int, int]],
    flat: list[Any],
    repeated: Iterable[tuple[int, float, int]],
    exemplars: Exemplars,
) -> None:
    """Record what an `Outbox` has flattened."""
    steps = iter(flat)
    for number, value, place in zip(steps, steps, steps, strict=True):
        bound = series.get(number)
        if bound is None:
            continue
        if place >= 0 and exemplars.is_due(bound, value):
            bound[0](value, bound[1], _context(*contexts[place]))
        else:
            bound[0](value, bound[1], _NO_SPAN)
    for number, value, count in repeated:
        record, attributes = series.get(number) or (_nothing, None)
        for _ in range(count):
            record(value, attributes, _NO_SPAN)


def _nothing(_value: float, _attributes: Any, _context: Any) -> None:
    """For what cannot be recorded."""


def _context(trace_id: int, span_id: int, flags: int) -> Context:
    if not trace_id:
        return _NO_SPAN
    context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags))
    return with_span(NonRecordingSpan(context), Context())
