"""The tracer and the instruments in use, from the moment a provider is set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter, MeterProvider, NoOpMeter
from opentelemetry.trace import NoOpTracer, Tracer, TracerProvider

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api import forking
from otel_queue_plugins.core.api.recorder import FastPath, Recorder, Value
from otel_queue_plugins.core.carrier import ids
from otel_queue_plugins.core.metrics import observed
from otel_queue_plugins.core.metrics.instruments import Instruments
from otel_queue_plugins.core.metrics.observed import (
    Clock,
    Consuming,
    Counts,
    Measure,
    Running,
    is_proxy,
)
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.task_names import TaskNames
from otel_queue_plugins.version import VERSION

SetUp = Callable[..., object]
"""Called with the signals that have no provider yet: `traces`, `metrics` or both."""

ReportFailure = Callable[[Mapping[str, Value]], None]
"""Called with the attributes of a route whose send or delivery has failed."""

_SIGNALS: Final = ("traces", "metrics")
_UNLIMITED_LOOKUPS: Final = 100
_LOOKUP_INTERVAL_SECONDS: Final = 0.1


def no_set_up(*_signals: str) -> None:
    """For applications that set their providers themselves."""


class Connection:
    """The tracer, the instruments and the counts of one plugin.

    A provider that is None is the global one, from the moment it is set. Until then, and while both
    providers discard what they get, `is_open` is false and nothing is recorded. A forked child
    looks for the global providers again.
    """

    def __init__(
        self,
        *,
        options: Options,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        set_up: SetUp,
        fast_path: FastPath | None,
        clock: Clock,
    ) -> None:
        self._fast_path = fast_path
        self._set_up = set_up
        self._clock = clock
        self._options = options
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._no_op_providers: tuple[TracerProvider, MeterProvider] | None = None
        self._lookups = 0
        self._next_lookup_at = 0.0
        self.is_open = False
        self.can_choose_ids = False
        self.report_failure: ReportFailure | None = None
        self.counts = Counts(clock)
        self.task_names = TaskNames()
        self._use(NoOpTracer(), NoOpMeter(semconv.SCOPE))
        self._lock = threading.Lock()
        forking.call_in_children(self._reset_in_child)

    def connect(self) -> bool:
        """Use the providers if at least one is set by now, and return `is_open`.

        A provider that is set later is reached through the API's proxy. After 100 look-ups without
        a provider there are at most ten a second.
        """
        if self._lookups > _UNLIMITED_LOOKUPS and time.monotonic() < self._next_lookup_at:
            return False
        self._lookups += 1
        self._next_lookup_at = time.monotonic() + _LOOKUP_INTERVAL_SECONDS
        providers = self._providers()
        missing = [
            signal for signal, each in zip(_SIGNALS, providers, strict=True) if is_proxy(each)
        ]
        if missing:
            self._set_up(*missing)
            providers = self._providers()
        if is_proxy(providers[0]) and is_proxy(providers[1]):
            return False
        if providers == self._no_op_providers:
            return False
        with self._lock:
            if not self.is_open:
                self._bind(*providers)
        return self.is_open

    def tracer_provider(self) -> TracerProvider:
        """The provider that spans go to, which is the API's proxy until one is set."""
        return self._tracer_provider or trace.get_tracer_provider()

    def meter_provider(self) -> MeterProvider:
        """The provider that measurements go to, which is the API's proxy until one is set."""
        return self._meter_provider or metrics.get_meter_provider()

    def _providers(self) -> tuple[TracerProvider, MeterProvider]:
        return (
            self.tracer_provider(),
            self.meter_provider(),
        )

    def _bind(self, tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
        scope, schema_url = semconv.SCOPE, semconv.SCHEMA_URL
        tracer = tracer_provider.get_tracer(scope, VERSION, schema_url=schema_url)
        meter = meter_provider.get_meter(scope, VERSION, schema_url=schema_url)
        if isinstance(tracer, NoOpTracer) and isinstance(meter, NoOpMeter):
            self._no_op_providers = (tracer_provider, meter_provider)
            return
        shared = observed.counts_of(meter_provider, self._clock)
        if shared is not self.counts:
            shared.capacity.extend(self.counts.capacity)
            shared.reserved.extend(self.counts.reserved)
            shared.running.extend(self.counts.running)
            shared.scheduled.extend(self.counts.scheduled)
            shared.consuming.extend(self.counts.consuming)
            self.counts = shared
        self.can_choose_ids = ids.enable_chosen_ids(tracer)
        sampler = getattr(tracer, "sampler", None)
        self.report_failure = getattr(sampler, "report_task_failure", None)
        self._use(tracer, meter)
        self.is_open = True

    def _use(self, tracer: Tracer, meter: Meter) -> None:
        lists = self._options.span_attributes()
        recorder = Recorder(tracer, self._fast_path, lists.kept if lists else None)
        self.tracer = tracer
        self.begin_span = recorder.begin_span
        self.start_span = recorder.start_span
        self.set_attributes = recorder.set_attributes
        self.add_event = recorder.add_event
        self.instruments = Instruments(
            meter,
            optional=self._options.metrics,
            has_objectives=bool(self._options.slo),
            counts=self.counts,
            recorder=recorder,
        )

    def observe_worker(
        self,
        *,
        capacity: Measure | None,
        reserved: Measure | None,
        running: Running | None = None,
        scheduled: Measure | None = None,
        consuming: Consuming | None = None,
    ) -> None:
        """Add what the gauges of a worker call at each collection."""
        with self._lock:
            if capacity is not None:
                self.counts.capacity.append(capacity)
            if reserved is not None:
                self.counts.reserved.append(reserved)
            if running is not None:
                self.counts.running.append(running)
            if scheduled is not None:
                self.counts.scheduled.append(scheduled)
            if consuming is not None:
                self.counts.consuming.append(consuming)

    def _reset_in_child(self) -> None:
        """In a forked child: the application may set other global providers there."""
        self._lookups = 0
        self._lock = threading.Lock()
        self._no_op_providers = None
        self.is_open = self.is_open and None not in (self._tracer_provider, self._meter_provider)
