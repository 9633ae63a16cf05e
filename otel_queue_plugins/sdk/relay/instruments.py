"""Instruments that measure in any process of a worker.

In the process that exports, and in one that was cut off from it, they are the SDK's. In the others
a measurement is kept, to be recorded by the SDK over there: temporality, views, aggregations,
exemplars and limits are the SDK's own.
"""

from __future__ import annotations

# ruff: noqa: D102 - the methods are the API's, and so is their meaning
import logging
import marshal
import math
import os
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry.context import Context, get_current
from opentelemetry.trace import SpanContext

from otel_queue_plugins.core.api.context import span_in
from otel_queue_plugins.sdk import fastpath
from otel_queue_plugins.sdk.relay import measured
from otel_queue_plugins.sdk.relay.measured import Instrument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_queue_plugins.sdk.relay.relay import Relay

logger = logging.getLogger("otel_queue_plugins")

_MAKERS: Final = {
    measured.COUNTER: "create_counter",
    measured.UP_DOWN: "create_up_down_counter",
    measured.HISTOGRAM: "create_histogram",
    measured.GAUGE: "create_gauge",
}
_NEVER_NEGATIVE: Final = (measured.COUNTER, measured.HISTOGRAM)


def real_meter(provider: Any, scope: measured.Scope) -> Any:
    """The SDK's meter of that scope."""
    name, version, schema_url, attributes = scope
    return provider.get_meter(name, version, schema_url, marshal.loads(attributes) or None)  # noqa: S302 - ours


def real_instrument(provider: Any, about: Instrument) -> Any:
    """The SDK's instrument of that description. May raise anything."""
    make = getattr(real_meter(provider, about.scope), _MAKERS[about.kind])
    if about.buckets is None:
        return make(about.name, about.unit, about.description)
    return make(
        about.name,
        about.unit,
        about.description,
        explicit_bucket_boundaries_advisory=list(about.buckets),
    )


class _Relayed:
    """What all instruments share. Raises what the SDK raises for a name that may not be."""

    def __init__(self, relay: Relay, about: Instrument) -> None:
        self._relay = relay
        self._about = about
        self._own: tuple[int, Any, Any] = (0, None, None)
        if relay.own_meter_provider() is not None:
            self._own_instrument()
        else:
            _check(about)

    def _own_instrument(self) -> tuple[int, Any, Any]:
        """The pid, the SDK's instrument of this process and the shortest way to record with it."""
        if self._own[0] != os.getpid():
            real = real_instrument(self._relay.own_meter_provider(), self._about)
            shortest = None
            if self._about.kind == measured.HISTOGRAM:
                shortest = fastpath.bind(real) or real.record
            self._own = (os.getpid(), real, shortest)
        return self._own

    def _measure(self, method: str, value: float, attributes: Any, context: Context | None) -> None:
        outbox = self._relay.outbox()
        if outbox is None:
            getattr(self._own_instrument()[1], method)(value, attributes, context)
            return
        number = self._number(value)
        if number is not None:
            outbox.add((outbox.series.of(self._about, attributes), number, _span(context)))

    def _number(self, value: Any) -> float | None:
        """`value` as what can be handed over; None, and a warning, if the SDK would refuse it."""
        number: float = value if type(value) in {int, float} else _plain_number(value)
        if math.isfinite(number) and (number >= 0 or self._about.kind not in _NEVER_NEGATIVE):
            return number
        logger.warning("%s was measured with %s, which is left out", self._about.name, value)
        return None


class RelayCounter(_Relayed, metrics.Counter):
    """A counter."""

    def add(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        self._measure("add", amount, attributes, context)


class RelayUpDownCounter(_Relayed, metrics.UpDownCounter):
    """An up-down counter."""

    def add(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        self._measure("add", amount, attributes, context)


class RelayHistogram(_Relayed, metrics.Histogram):
    """A histogram."""

    def record(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        self._measure("record", amount, attributes, context)

    def record_lasting(self, value: float, attributes: Mapping[str, Any], context: Context) -> None:
        """`record`, for attributes that live long: one dict for each series."""
        outbox = self._relay.outbox()
        if outbox is None:
            self._own_instrument()[2](value, attributes, context)
        elif 0 <= value < math.inf:
            series = outbox.series.of_lasting(self._about, attributes)
            outbox.add((series, value, _span(context)))
        else:
            self.record(value, attributes, context)


class RelayGauge(_Relayed, metrics._Gauge):  # noqa: SLF001 - the API names it so
    """A gauge."""

    def set(self, amount: float, attributes: Any = None, context: Context | None = None) -> None:
        self._measure("set", amount, attributes, context)


def _span(context: Context | None) -> SpanContext:
    return span_in(context or get_current()).get_span_context()


def _plain_number(value: Any) -> float:
    if isinstance(value, bool | int):
        return int(value)
    return float(value)


def _check(about: Instrument) -> None:
    """As the SDK does, which makes its instrument in another process."""
    check = getattr(metrics.Counter, "_check_name_unit_description", None)
    if check is None:
        return
    checked = check(about.name, about.unit, about.description)
    if checked["name"] is None or checked["unit"] is None:
        raise ValueError(f"{about.name!r} in {about.unit!r} is no name and unit of an instrument")
