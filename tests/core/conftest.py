"""One queue with its telemetry in memory: call verbs, then look at what was exported."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Message, Route
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk import fastpath
from tests.points import points_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from otel_queue_plugins.core.api.recorder import FastPath
    from otel_queue_plugins.core.operation import ProcessOperation
    from tests.conftest import FakeClock

ROUTE = Route(
    system="redis",
    destination="shop",
    task="shop.tasks.ship",
    server_address="queue.example",
    server_port=6379,
    function="shop.tasks.ship",
)
START = 1_700_000_000.0


@dataclass
class Queue:
    """A producer and a worker in one process, with what left it."""

    telemetry: QueueTelemetry
    clock: FakeClock
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    fast_path: FastPath | None = None

    def sibling(self, framework: str = "celery", **options: Any) -> Queue:
        """Another plugin with the same providers."""
        telemetry = QueueTelemetry(
            framework,
            options=Options(**options),
            tracer_provider=self.tracer_provider,
            meter_provider=self.meter_provider,
            fast_path=self.fast_path,
            clock=self.clock,
        )
        return dataclasses.replace(self, telemetry=telemetry)

    def send(self, carrier: dict[str, object] | None = None, **facts: Any) -> dict[str, object]:
        """Send a message; returns what it carries."""
        carrier = {} if carrier is None else carrier
        message = Message(**{"route": ROUTE, "id": "m1"} | facts)
        self.telemetry.end_send(self.telemetry.start_send(message, carrier))
        return carrier

    def start(self, carrier: Mapping[str, object] | None, **facts: Any) -> ProcessOperation:
        delivery = Delivery(**{"route": ROUTE, "id": "m1"} | facts)
        return self.telemetry.start_process(delivery, carrier)

    def process(
        self,
        carrier: Mapping[str, object] | None,
        ending: Ending = SUCCEEDED,
        *,
        takes: float = 0.0,
        **facts: Any,
    ) -> ReadableSpan:
        """Process a message; returns its exported span."""
        operation = self.start(carrier, **facts)
        self.clock.advance(takes)
        self.telemetry.end_process(operation, ending)
        return self.spans()[-1]

    def spans(self, name: str = "") -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if name in span.name]

    def points(self, metric: str) -> list[Any]:
        """The data points of a metric; none if it was not recorded."""
        return points_of(self.reader, metric)

    def exemplars(self) -> dict[str, set[int]]:
        """The span ids of all exemplars by metric; a collection takes them away."""
        data = self.reader.get_metrics_data()
        return {
            found.name: {
                one.span_id
                for point in found.data.data_points
                for one in getattr(point, "exemplars", ())
            }
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
        }

    def metrics(self) -> set[str]:
        data = self.reader.get_metrics_data()
        return {
            found.name
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for found in scope.metrics
        }


def in_child(read: Any) -> Any:
    """Return what `read()` returns in a forked child, as JSON."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            os.write(writing, json.dumps(read()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text)


@pytest.fixture(params=[None, fastpath], ids=["api", "fast path"])
def queue(
    request: pytest.FixtureRequest,
    fake_clock: FakeClock,
    span_exporter: InMemorySpanExporter,
    metric_reader: InMemoryMetricReader,
    tracer_provider: TracerProvider,
    meter_provider: MeterProvider,
) -> Queue:
    """A Celery-like queue on the providers of the test: each rule holds on the fast path, too."""
    telemetry = QueueTelemetry(
        "celery",
        tracer_provider=tracer_provider,
        meter_provider=meter_provider,
        fast_path=request.param,
        clock=fake_clock,
    )
    return Queue(
        telemetry,
        fake_clock,
        span_exporter,
        metric_reader,
        tracer_provider,
        meter_provider,
        request.param,
    )
