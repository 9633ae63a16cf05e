"""Where spans and measurements go, once somebody has set a provider."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter
from opentelemetry.trace import NoOpTracer, Tracer, TracerProvider

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api import forking
from otel_queue_plugins.core.api.recorder import FastPath, Recorder
from otel_queue_plugins.core.metrics import observed
from otel_queue_plugins.core.metrics.instruments import Instruments
from otel_queue_plugins.core.metrics.observed import (
    Clock,
    Counts,
    Measure,
    Running,
    is_proxy,
)
from otel_queue_plugins.core.spans import ids
from otel_queue_plugins.version import VERSION

SetUp = Callable[..., object]
"""Called with the signals that have no provider: `traces`, `metrics` or both."""

_SIGNALS: Final = ("traces", "metrics")
_OFTEN_ENOUGH: Final = 100
_SECONDS_BETWEEN_LOOKS: Final = 0.1


def no_set_up(*_signals: str) -> None:
    """For who sets providers elsewhere."""


class Connection:
    """The tracer, the instruments and the counts in use.

    Without providers of its own it uses the global ones, from the moment they are set; until then,
    and while both of them discard what they get, `open` is false and nothing is recorded. A forked
    child looks for them anew.
    """

    def __init__(
        self,
        *,
        optional_metrics: frozenset[str],
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        set_up: SetUp,
        fast_path: FastPath | None,
        clock: Clock,
    ) -> None:
        self._fast_path = fast_path
        self._set_up = set_up
        self._clock = clock
        self._optional = optional_metrics
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._discarding: tuple[TracerProvider, MeterProvider] | None = None
        self._looked = 0
        self._look_again_at = 0.0
        self.open = False
        self.can_choose_ids = False
        self.counts = Counts(clock)
        self._use(NoOpTracer(), NoOpMeter(semconv.SCOPE))
        self._lock = threading.Lock()
        forking.call_in_children(self._reset_in_child)

    def connect(self) -> bool:
        """Use the providers, if there are any by now. Returns `open`.

        What is not set yet is used through the API's proxies, which turn into the real thing.
        Looking has its cost; a process that nobody has listened to for long looks ten times a
        second.
        """
        if self._looked > _OFTEN_ENOUGH and time.monotonic() < self._look_again_at:
            return False
        self._looked += 1
        self._look_again_at = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        providers = self._providers()
        missing = [
            signal for signal, each in zip(_SIGNALS, providers, strict=True) if is_proxy(each)
        ]
        if missing:
            self._set_up(*missing)
            providers = self._providers()
        if is_proxy(providers[0]) and is_proxy(providers[1]):
            return False
        if providers == self._discarding:
            return False
        with self._lock:
            if not self.open:
                self._bind(*providers)
        return self.open

    def _providers(self) -> tuple[TracerProvider, MeterProvider]:
        return (
            self._tracer_provider or trace.get_tracer_provider(),
            self._meter_provider or metrics.get_meter_provider(),
        )

    def _bind(self, tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
        scope, schema_url = semconv.SCOPE, semconv.SCHEMA_URL
        tracer = tracer_provider.get_tracer(scope, VERSION, schema_url=schema_url)
        meter = meter_provider.get_meter(scope, VERSION, schema_url=schema_url)
        if isinstance(tracer, NoOpTracer) and isinstance(meter, NoOpMeter):
            self._discarding = (tracer_provider, meter_provider)
            return
        shared = observed.of(meter_provider, self._clock)
        if shared is not self.counts:
            shared.capacity.extend(self.counts.capacity)
            shared.reserved.extend(self.counts.reserved)
            shared.running.extend(self.counts.running)
            self.counts = shared
        self.can_choose_ids = ids.enable_chosen_ids(tracer)
        self._use(tracer, meter)
        self.open = True

    def _use(self, tracer: Tracer, meter: Meter) -> None:
        recorder = Recorder(tracer, self._fast_path)
        self.tracer = tracer
        self.begin_span = recorder.begin_span
        self.start_span = recorder.start_span
        self.set_attributes = recorder.set_attributes
        self.add_event = recorder.add_event
        self.instruments = Instruments(
            meter, optional=self._optional, counts=self.counts, recorder=recorder
        )

    def observe_worker(
        self, *, capacity: Measure | None, reserved: Measure | None, running: Running | None = None
    ) -> None:
        """Report the slots of a worker, the messages it holds and what runs in its processes."""
        with self._lock:
            if capacity is not None:
                self.counts.capacity.append(capacity)
            if reserved is not None:
                self.counts.reserved.append(reserved)
            if running is not None:
                self.counts.running.append(running)

    def _reset_in_child(self) -> None:
        """In a forked child, where the application may set other global providers."""
        self._looked = 0
        self._lock = threading.Lock()
        self._discarding = None
        self.open = self.open and None not in (self._tracer_provider, self._meter_provider)
