"""What a fork leaves in a child, made by hand: locks that nobody releases, old connections."""

from __future__ import annotations

# ruff: noqa: ARG002 - the exporter's parameters are the SDK's
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_queue_plugins.sdk.process.fork_repair import repair

if TYPE_CHECKING:
    from collections.abc import Iterator


class Collected(MetricExporter):
    """Keeps the values of every sum it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 0, **kwargs: Any
    ) -> MetricExportResult:
        data: Any = metrics_data.resource_metrics[0].scope_metrics[0].metrics[0].data
        self.values += [point.value for point in data.data_points]
        return MetricExportResult.SUCCESS

    def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
        pass

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True


@pytest.fixture
def exporter() -> Collected:
    """What `provider` exports to."""
    return Collected()


@pytest.fixture
def provider(exporter: Collected) -> Iterator[MeterProvider]:
    """Collects only when a test asks for it."""
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider
    provider.shutdown()


def ends_in_time(act: Any, seconds: float = 2) -> bool:
    """Whether `act` returns in time, in a thread that may be left behind."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def test_reader_with_held_locks_collects_after_repair(
    provider: MeterProvider, exporter: Collected
) -> None:
    """The parent's threads held the locks at the fork; nobody releases them in the child."""
    counter = provider.get_meter("tests").create_counter("work")
    counter.add(10)
    reader: Any = provider._metric_readers[0]
    consumer: Any = provider._measurement_consumer
    reader._export_lock.acquire()
    consumer._lock.acquire()
    consumer._reader_storages[reader]._lock.acquire()
    meter: Any = provider.get_meter("tests")
    meter._instrument_registration_lock.acquire()
    assert not ends_in_time(provider.force_flush, 0.2)
    repair(provider, None)
    counter.add(1)
    assert ends_in_time(lambda: meter.create_counter("another"))
    assert ends_in_time(provider.force_flush)
    assert exporter.values == [1]


def test_hanging_reader_thread_is_replaced(exporter: Collected) -> None:
    """The parent's thread held the lock of its event at the fork: the SDK's new thread hangs."""
    reader: Any = PeriodicExportingMetricReader(exporter, export_interval_millis=50)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    counter = provider.get_meter("tests").create_counter("work")
    dead = reader._shutdown_event
    dead._cond.acquire()
    repair(provider, None)
    counter.add(1)
    arrived = threading.Event()
    exporter.export = lambda *_, **__: arrived.set()  # type: ignore[method-assign,assignment]
    assert arrived.wait(60)
    dead._cond.release()
    provider.shutdown()


def test_pull_reader_starts_from_zero() -> None:
    """The parent's numbers are not the child's, whatever kind of reader collects them."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("tests").create_counter("work").add(10)
    repair(provider, None)
    assert reader.get_metrics_data() is None


def test_http_session_is_replaced_by_an_equal_one() -> None:
    """It has new connections and the same headers, certificates and authentication."""
    exporter: Any = HttpExporter(endpoint="http://localhost:1", certificate_file="ca.pem")
    before = _session(exporter)
    before.auth, before.headers["x-mine"] = ("user", "secret"), "kept"
    repair(_provider_with(exporter), None)
    after = _session(exporter)
    assert after is not before
    assert (
        after.get_adapter("http://x").poolmanager is not before.get_adapter("http://x").poolmanager
    )
    assert (after.auth, after.headers["x-mine"], after.verify) == (
        ("user", "secret"),
        "kept",
        before.verify,
    )


def test_grpc_channel_is_made_at_the_first_call() -> None:
    """It is not made in the fork, and the parent's is not closed: either could hang."""
    exporter: Any = GrpcExporter(endpoint="http://localhost:1", insecure=True)
    before = exporter._channel
    repair(_provider_with(exporter), None)
    assert exporter._channel is None
    with pytest.raises(Exception, match="UNAVAILABLE"):
        exporter._client.Export(request=exporter._translate_data([]), timeout=1)
    assert exporter._channel not in (None, before)
    exporter.shutdown()


def test_exporters_inside_wrappers_are_repaired() -> None:
    """Distributions wrap processors and exporters."""

    class Wrapper(SpanProcessor):
        def __init__(self, *inner: object) -> None:
            self.inner = [("name", each) for each in inner]

    exporter: Any = HttpExporter(endpoint="http://localhost:1")
    before = _session(exporter)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Wrapper(Wrapper(SimpleSpanProcessor(exporter))))
    repair(provider, None)
    assert _session(exporter) is not before


def test_configured_instance_id_becomes_a_prefix() -> None:
    """Spans that start after the repair have it, also those of older tracers."""
    provider = TracerProvider(
        resource=Resource({"service.instance.id": "pod-7"}), shutdown_on_exit=False
    )
    tracer = provider.get_tracer("tests")
    repair(provider, "pod-7")
    span: Any = tracer.start_span("work")
    assert str(span.resource.attributes["service.instance.id"]).startswith("pod-7-")


def test_provider_of_another_library_is_left_unchanged() -> None:
    """A global provider need not be the SDK's."""
    repair(object(), "pod-7")


def _provider_with(exporter: Any) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def _session(exporter: Any) -> Any:
    """Where 1.45 keeps it, or earlier versions did."""
    client = getattr(exporter, "_client", None)
    return client._transport._session if client is not None else exporter._session
