"""The meters of a worker, the same in each of its processes.

Observable instruments are asked in the process that exports only.
"""

from __future__ import annotations

# ruff: noqa: D102 - the methods are the API's, and so is their meaning
import marshal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from otel_queue_plugins.sdk.relay import measured
from otel_queue_plugins.sdk.relay.instruments import (
    RelayCounter,
    RelayGauge,
    RelayHistogram,
    RelayUpDownCounter,
    real_meter,
)
from otel_queue_plugins.sdk.relay.measured import Instrument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_queue_plugins.sdk.relay.relay import Relay


class RelayMeterProvider(metrics.MeterProvider):
    """Gives the same meters in every process of a worker."""

    is_relayed = True

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._meters: dict[measured.Scope, RelayMeter] = {}

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> metrics.Meter:
        scope = (name, version, schema_url, marshal.dumps(dict(attributes or {}), 2))
        meter = self._meters.get(scope)
        if meter is None:
            meter = self._meters.setdefault(scope, RelayMeter(self._relay, scope))
        return meter

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._relay.flush_metrics(timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        self.force_flush(timeout_millis)

    def is_only_relayed(self) -> bool:
        """True: readers are the business of the process that exports."""
        return True


class RelayMeter(metrics.Meter):
    """Makes each instrument once."""

    def __init__(self, relay: Relay, scope: measured.Scope) -> None:
        super().__init__(scope[0], version=scope[1], schema_url=scope[2])
        self._relay = relay
        self._scope = scope
        self._made: dict[Instrument, Any] = {}

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._make(RelayCounter, measured.COUNTER, name, unit, description)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._make(RelayUpDownCounter, measured.UP_DOWN, name, unit, description)

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> Any:
        advised = explicit_bucket_boundaries_advisory
        buckets = tuple(advised) if isinstance(advised, Sequence) else None
        return self._make(RelayHistogram, measured.HISTOGRAM, name, unit, description, buckets)

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Any:
        return self._make(RelayGauge, measured.GAUGE, name, unit, description)

    def create_observable_counter(self, *args: Any, **kwargs: Any) -> Any:
        return self._observable("create_observable_counter", args, kwargs)

    def create_observable_up_down_counter(self, *args: Any, **kwargs: Any) -> Any:
        return self._observable("create_observable_up_down_counter", args, kwargs)

    def create_observable_gauge(self, *args: Any, **kwargs: Any) -> Any:
        return self._observable("create_observable_gauge", args, kwargs)

    def _make(
        self,
        made_of: Any,
        kind: int,
        name: str,
        unit: str,
        description: str,
        buckets: tuple[float, ...] | None = None,
    ) -> Any:
        about = Instrument(kind, self._scope, name, unit or "", description or "", buckets)
        made = self._made.get(about)
        if made is None:
            made = made_of(self._relay, about)
            made = self._made.setdefault(about, made)
        return made

    def _observable(self, make: str, args: Any, kwargs: Any) -> Any:
        provider = self._relay.own_meter_provider()
        if provider is None:
            provider = metrics.NoOpMeterProvider()
        return getattr(real_meter(provider, self._scope), make)(*args, **kwargs)
