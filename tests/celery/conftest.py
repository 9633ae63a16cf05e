"""An app on kombu's in-memory broker, its worker in a thread, and what both export."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_queue_plugins.celery import instrument, uninstrument
from tests.points import points_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Tracer

DEADLINE_S = 60.0


@dataclass(slots=True)
class Telemetry:
    """Providers of one test, and what they have exported."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    tracer_provider: TracerProvider = field(init=False)
    meter_provider: MeterProvider = field(init=False)

    def __post_init__(self) -> None:
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def tracer(self) -> Tracer:
        """For spans of the test itself."""
        return self.tracer_provider.get_tracer("test")

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Spans that have ended, by start time."""
        found = [span for span in self.exporter.get_finished_spans() if name in (None, span.name)]
        return sorted(found, key=lambda span: span.start_time or 0)

    def expect(self, count: int, name: str | None = None) -> list[ReadableSpan]:
        """Wait for `count` spans; fail if there are more."""
        until(lambda: len(self.spans(name)) >= count, lambda: describe(self.spans()))
        found = self.spans(name)
        assert len(found) == count, describe(self.spans())
        return found

    def one(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        return self.expect(1, name)[0]

    def points(self, metric: str) -> list[Any]:
        """The points of one metric, now."""
        return points_of(self.reader, metric)

    def close(self) -> None:
        """Shut the providers down."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def until(condition: Callable[[], bool], what: Callable[[], str] = lambda: "") -> None:
    """Wait for `condition`, at most ten seconds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting\n{what()}"
        time.sleep(0.005)


def describe(spans: list[ReadableSpan]) -> str:
    """One line for each span, for messages of failed assertions."""
    return "\n".join(
        f"{span.context.trace_id:032x} {span.context.span_id:016x} < "
        f"{span.parent.span_id if span.parent else 0:016x} {span.name} {span.status.status_code} "
        f"{dict(span.attributes or {})}"
        for span in spans
    )


def ids(span: ReadableSpan) -> tuple[int, int]:
    """Trace id and span id."""
    return span.context.trace_id, span.context.span_id


def parent_ids(span: ReadableSpan) -> tuple[int, int] | None:
    """Trace id and span id of the parent."""
    return (span.parent.trace_id, span.parent.span_id) if span.parent else None


def linked_ids(span: ReadableSpan) -> list[tuple[int, int]]:
    """Trace ids and span ids of the links."""
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def memory_app(**settings: Any) -> Celery:
    """An app with a queue of its own, and results in memory."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(
        broker_url="memory://",
        broker_transport_options={"polling_interval": 0.01},
        result_backend="cache+memory://",
        task_default_queue=f"shop-{uuid.uuid4().hex[:8]}",
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        **settings,
    )
    return app


@contextmanager
def running(app: Celery, *, pool: str = "threads", concurrency: int = 4) -> Iterator[None]:
    """A worker of `app` in this process."""
    with start_worker(
        app, pool=pool, concurrency=concurrency, perform_ping_check=False, loglevel="ERROR"
    ):
        yield


@contextmanager
def instrumenting(app: Celery | None = None, **options: Any) -> Iterator[Telemetry]:
    """The plugin with providers that are not the global ones."""
    telemetry = Telemetry()
    instrument(
        app,
        tracer_provider=telemetry.tracer_provider,
        meter_provider=telemetry.meter_provider,
        **options,
    )
    try:
        yield telemetry
    finally:
        uninstrument()
        telemetry.close()


@pytest.fixture(scope="session", autouse=True)
def connected_receiver() -> Iterator[None]:
    """Celery before 5.4 loses receivers of a signal after all of them were disconnected."""

    def listen(**_: Any) -> None:
        pass

    signals.before_task_publish.connect(listen)
    yield
    signals.before_task_publish.disconnect(listen)


@pytest.fixture(scope="module")
def module_telemetry() -> Iterator[Telemetry]:
    """What every app exports while the tests of a module run."""
    with instrumenting() as telemetry:
        yield telemetry


@pytest.fixture
def telemetry(module_telemetry: Telemetry) -> Telemetry:
    """What every app exports in this test."""
    module_telemetry.exporter.clear()
    return module_telemetry
