"""A broker in memory with our middleware, a worker that runs until no message is left, spans."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from opentelemetry import trace

from otel_queue_plugins.dramatiq import OpenTelemetryMiddleware, instrument, uninstrument
from tests.points import points_of

with warnings.catch_warnings():  # versions before 2.0 warn about backends that are not installed
    warnings.simplefilter("ignore", ImportWarning)
    from dramatiq.rate_limits.backends import StubBackend

__all__ = ["StubBackend"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

QUEUE = "default"


class Shop:
    """One StubBroker, its actors, its worker, and the telemetry that was exported."""

    def __init__(
        self,
        tracer_provider: TracerProvider,
        meter_provider: MeterProvider,
        exporter: InMemorySpanExporter,
        reader: InMemoryMetricReader,
    ) -> None:
        self.providers = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
        self.tracer = tracer_provider.get_tracer("caller")
        self._exporter = exporter
        self._reader = reader
        self.broker = StubBroker()

    def instrument(self, **options: Any) -> OpenTelemetryMiddleware:
        """Put our middleware first."""
        return instrument(self.broker, **self.providers, **options)

    def append(self, **options: Any) -> OpenTelemetryMiddleware:
        """Put our middleware last."""
        middleware = OpenTelemetryMiddleware(**self.providers, **options)
        self.broker.add_middleware(middleware)
        return middleware

    def actor(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Declare an actor on this broker."""
        return dramatiq.actor(function, broker=self.broker, **options)

    @contextmanager
    def caller(self) -> Iterator[trace.Span]:
        """Run code inside a span, as the one who sends."""
        with self.tracer.start_as_current_span("caller") as span:
            yield span

    def work(self, *, threads: int = 1) -> None:
        """Run a worker until every message, and every message sent meanwhile, is processed."""
        worker = Worker(self.broker, worker_timeout=10, worker_threads=threads)
        worker.start()
        self.broker.join(QUEUE, timeout=60_000, fail_fast=False)
        worker.join()
        worker.stop()

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Return the exported spans by start time, without those of the caller."""
        found = [
            span
            for span in self._exporter.get_finished_spans()
            if span.name == (name or span.name) and span.name != "caller"
        ]
        return sorted(found, key=lambda span: span.start_time or 0)

    def span(self, name: str) -> ReadableSpan:
        """Return the only span of that name."""
        (span,) = self.spans(name)
        return span

    def total(self, metric: str, **attributes: Any) -> float:
        """Return a counter's sum or a histogram's count, over the series with `attributes`."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return sum(
            getattr(point, "count", None) or getattr(point, "value", 0)
            for point in points_of(self._reader, metric)
            if wanted.items() <= dict(point.attributes).items()
        )


@pytest.fixture
def shop(
    tracer_provider: TracerProvider,
    meter_provider: MeterProvider,
    span_exporter: InMemorySpanExporter,
    metric_reader: InMemoryMetricReader,
) -> Iterator[Shop]:
    """A shop without our middleware yet."""
    shop = Shop(tracer_provider, meter_provider, span_exporter, metric_reader)
    yield shop
    uninstrument(shop.broker)


def outcome(span: ReadableSpan) -> object:
    """Return the attribute `taskqueue.task.outcome` of a span."""
    return attribute(span, "taskqueue.task.outcome")


def attribute(span: ReadableSpan, name: str) -> object:
    """Return an attribute of a span; None if it is absent."""
    return (span.attributes or {}).get(name)


def event_names(span: ReadableSpan) -> list[str]:
    """Return the names of the span's events, in order."""
    return [event.name for event in span.events]


def ids_of_links(span: ReadableSpan) -> list[int]:
    """Return the span ids of the span's links, in order."""
    return [link.context.span_id for link in span.links]
