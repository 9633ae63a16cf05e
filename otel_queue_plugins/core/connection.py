"""Where spans and measurements go, once somebody has set a provider."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
from opentelemetry.trace import Tracer, TracerProvider

from otel_queue_plugins.core import identity, instruments, semconv
from otel_queue_plugins.core.instruments import Instruments
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.prepared import MAX_ROUTES, Prepared
from otel_queue_plugins.core.tally import Tally
from otel_queue_plugins.version import VERSION

Measure = Callable[[], int]


class Connection:
    """The tracer, the instruments and the counts of this process.

    Without providers of its own it uses the global ones, from the moment they are set; until then
    `open` is false and nothing is recorded. A forked child starts with nothing counted and nothing
    in flight.
    """

    def __init__(
        self,
        *,
        optional_metrics: frozenset[str],
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        set_up: Callable[[], None],
    ) -> None:
        self._set_up = set_up
        self._optional = optional_metrics
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._seen: dict[Prepared, None] = {}
        self._gauges: list[tuple[Measure | None, Measure | None]] = []
        self.sent = Tally()
        self.consumed = Tally()
        self.in_flight: dict[ProcessOperation, None] = {}
        self.open = False
        self.chooses_ids = False
        self.tracer: Tracer = trace.NoOpTracer()
        self._meter: Meter = metrics.NoOpMeter(semconv.SCOPE)
        self.instruments = self._make_instruments()
        self._lock = threading.Lock()
        _start_afresh_in_children(self)

    def connect(self) -> bool:
        """Use the providers, if there are any by now. Returns `open`.

        What is not set yet is used through the API's proxies, which turn into the real thing.
        """
        tracer_provider, meter_provider = self._providers()
        if _is_proxy(tracer_provider) and _is_proxy(meter_provider):
            self._set_up()
            tracer_provider, meter_provider = self._providers()
        if _is_proxy(tracer_provider) and _is_proxy(meter_provider):
            return False
        with self._lock:
            if not self.open:
                self._bind(tracer_provider, meter_provider)
        return True

    def _providers(self) -> tuple[TracerProvider, MeterProvider]:
        return (
            self._tracer_provider or trace.get_tracer_provider(),
            self._meter_provider or metrics.get_meter_provider(),
        )

    def _bind(self, tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
        scope, schema_url = semconv.SCOPE, semconv.SCHEMA_URL
        self.tracer = tracer_provider.get_tracer(scope, VERSION, schema_url=schema_url)
        self.chooses_ids = identity.let_choose_ids(self.tracer)
        self._meter = meter_provider.get_meter(scope, VERSION, schema_url=schema_url)
        self.instruments = self._make_instruments()
        for capacity, reserved in self._gauges:
            instruments.observe_worker(self._meter, _gauge(capacity), _gauge(reserved))
        self.open = True

    def observe_worker(self, *, capacity: Measure | None, reserved: Measure | None) -> None:
        """Report the slots of a worker and the messages it holds without running them."""
        self._gauges.append((capacity, reserved))
        if self.open:
            instruments.observe_worker(self._meter, _gauge(capacity), _gauge(reserved))

    def entered(self, operation: ProcessOperation, prepared: Prepared) -> None:
        self.in_flight[operation] = None
        if prepared not in self._seen and len(self._seen) < MAX_ROUTES:
            self._seen[prepared] = None

    def start_afresh(self) -> None:
        """Forget what belongs to the process this one was forked from."""
        self._lock = threading.Lock()
        self.sent.reset()
        self.consumed.reset()
        self.in_flight.clear()
        self._gauges.clear()
        self._seen.clear()

    def _make_instruments(self) -> Instruments:
        return Instruments(
            self._meter,
            optional=self._optional,
            sent=self.sent,
            consumed=self.consumed,
            in_flight=self._observe_in_flight,
            longest_running=self._observe_longest_running,
        )

    def _observe_in_flight(self, _options: CallbackOptions) -> Iterable[Observation]:
        counts = dict.fromkeys(list(self._seen), 0)
        for operation in list(self.in_flight):
            if operation.prepared in counts:
                counts[operation.prepared] += 1
        return [Observation(count, prepared.base) for prepared, count in counts.items()]

    def _observe_longest_running(self, _options: CallbackOptions) -> Iterable[Observation]:
        now = time.time_ns()
        oldest = dict.fromkeys(list(self._seen), now)
        for operation in list(self.in_flight):
            if operation.prepared in oldest:
                oldest[operation.prepared] = min(oldest[operation.prepared], operation.started_ns)
        return [
            Observation((now - started) / 1e9, prepared.base)
            for prepared, started in oldest.items()
        ]


def _is_proxy(provider: object) -> bool:
    """Whether `provider` only stands in for one that nobody has set (API, "proxy" providers)."""
    return type(provider).__name__.lstrip("_") in {"ProxyTracerProvider", "ProxyMeterProvider"}


def _gauge(measure: Measure | None) -> instruments.Observe | None:
    if measure is None:
        return None
    return lambda _options: [Observation(measure(), {})]


def _start_afresh_in_children(connection: Connection) -> None:
    if not hasattr(os, "register_at_fork"):
        return
    weakly = weakref.WeakMethod(connection.start_afresh)

    def after_in_child() -> None:
        start_afresh = weakly()
        if start_afresh is not None:
            start_afresh()

    os.register_at_fork(after_in_child=after_in_child)
