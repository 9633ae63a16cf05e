"""The OTLP receiver: everything an SDK exports comes out as facts; nothing bad breaks it."""

from __future__ import annotations

import logging
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_queue_plugins.cli.receiver import OtlpReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message
    from opentelemetry.util.types import AnyValue

RESOURCE = Resource({"service.name": "shop", "team": "a"})
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """A running receiver."""
    with OtlpReceiver() as receiver:
        yield receiver


def tracer_to(
    receiver: OtlpReceiver, compression: Compression = Compression.NoCompression
) -> trace.Tracer:
    """A tracer whose spans are exported as they end."""
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{receiver.endpoint}/v1/traces", compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("scope", "1.2", "https://schema")


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_a_span_arrives_whole(receiver: OtlpReceiver, compression: Compression) -> None:
    """Ids, names, times, kind, status, attributes of every type, events and links survive."""
    tracer = tracer_to(receiver, compression)
    parent = tracer.start_span("parent", kind=trace.SpanKind.PRODUCER)
    attributes: dict[str, AnyValue] = {
        "text": "a",
        "yes": True,
        "count": 3,
        "part": 0.5,
        "all": ["x", "y"],
    }
    span = tracer.start_span(
        "child",
        trace.set_span_in_context(parent),
        kind=trace.SpanKind.CONSUMER,
        attributes=attributes,
        links=[trace.Link(parent.get_span_context(), {"why": "batch"})],
        start_time=1_000,
    )
    span.add_event("happened", {"n": 1}, timestamp=1_500)
    span.set_status(trace.StatusCode.ERROR, "broken")
    span.end(2_000)
    parent.end()

    child, root = receiver.spans()
    context = parent.get_span_context()
    assert child.service == root.service == "shop"
    assert child.resource == {"service.name": "shop", "team": "a"}
    assert (child.scope_name, child.scope_version) == ("scope", "1.2")
    assert child.schema_url == "https://schema"
    assert child.trace_id == root.trace_id == f"{context.trace_id:032x}"
    assert child.parent_id == root.span_id == f"{context.span_id:016x}"
    assert (root.parent_id, root.kind, root.status) == ("", "producer", "unset")
    assert (child.name, child.kind) == ("child", "consumer")
    assert (child.start_ns, child.end_ns, child.duration_s) == (1_000, 2_000, 1e-6)
    assert (child.status, child.status_description) == ("error", "broken")
    assert child.attributes == {**attributes, "all": ("x", "y")}
    assert [(e.name, e.time_ns, e.attributes) for e in child.events] == [
        ("happened", 1_500, {"n": 1})
    ]
    assert [(li.trace_id, li.span_id, li.attributes) for li in child.links] == [
        (root.trace_id, root.span_id, {"why": "batch"})
    ]


def test_metrics_arrive_whole(receiver: OtlpReceiver) -> None:
    """Sums, gauges and histograms keep unit, kind, value, buckets, attributes and exemplars."""
    exporter = OTLPMetricExporter(f"{receiver.endpoint}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    meter = provider.get_meter("scope")
    meter.create_counter("done", "{message}", "What is done").add(2, {"queue": "q"})
    meter.create_up_down_counter("open").add(-1)
    meter.create_gauge("depth").set(1.5)
    histogram = meter.create_histogram("took", "s", explicit_bucket_boundaries_advisory=[1, 5])
    with tracer_to(receiver).start_as_current_span("work") as span:
        histogram.record(3.0)
        histogram.record(7)
    provider.shutdown()

    points = {point.name: point for point in receiver.points()}
    done = points["done"]
    assert (done.service, done.unit, done.description) == ("shop", "{message}", "What is done")
    assert (done.kind, done.monotonic, done.temporality) == ("sum", True, "cumulative")
    assert (done.value, done.histogram, done.attributes) == (2, None, {"queue": "q"})
    assert 0 < done.start_ns <= done.time_ns
    assert (points["open"].value, points["open"].monotonic) == (-1, False)
    depth = points["depth"]
    assert (depth.kind, depth.value, depth.temporality) == ("gauge", 1.5, "")
    took = points["took"].histogram
    assert took is not None
    assert (took.count, took.sum, took.bounds, took.bucket_counts) == (2, 10, (1, 5), (0, 1, 1))
    assert points["took"].value is None
    span_id = f"{span.get_span_context().span_id:016x}"
    assert {exemplar.span_id for exemplar in points["took"].exemplars} == {span_id}


def test_a_log_record_arrives_whole(receiver: OtlpReceiver) -> None:
    """Body, severity, attributes and the ids of the current span survive."""
    provider = LoggerProvider(RESOURCE, shutdown_on_exit=False)
    exporter = OTLPLogExporter(f"{receiver.endpoint}/v1/logs")
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    with tracer_to(receiver).start_as_current_span("work") as span:
        provider.get_logger("scope").emit(
            body={"text": "hello"}, severity_text="WARN", attributes={"task": "add"}, timestamp=5
        )
    (log,) = receiver.logs()
    assert (log.service, log.scope_name, log.time_ns) == ("shop", "scope", 5)
    assert (log.body, log.severity, log.attributes) == ({"text": "hello"}, "WARN", {"task": "add"})
    assert log.span_id == f"{span.get_span_context().span_id:016x}"


def test_waiting_ends_when_the_condition_holds_or_the_time_is_over(receiver: OtlpReceiver) -> None:
    """`wait_for` wakes up by the arrival, not by a clock; False says that nothing came."""
    tracer = tracer_to(receiver)
    later = threading.Thread(target=lambda: tracer.start_span("late").end())
    assert not receiver.wait_for(lambda: bool(receiver.spans()), timeout=0.01)
    later.start()
    assert receiver.wait_for(lambda: bool(receiver.spans()), timeout=60)
    later.join()
    receiver.clear()
    assert receiver.spans() == []


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/traces", PROTOBUF, b"\xff\xff\xff", 400),
        ("/v1/traces", PROTOBUF | {"Content-Encoding": "gzip"}, b"no gzip", 400),
        ("/v1/traces", PROTOBUF | {"Content-Encoding": "deflate"}, b"no deflate", 400),
        ("/v1/traces", {"Content-Type": "text/json"}, b"{}", 415),
        ("/v1/other", PROTOBUF, b"", 404),
    ],
)
def test_a_bad_request_is_refused_and_forgotten(
    receiver: OtlpReceiver, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """The sender hears why; the next good request is taken."""
    request = urllib.request.Request(receiver.endpoint + path, body, headers)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=30)
    assert refusal.value.code == status
    refusal.value.close()
    tracer_to(receiver).start_span("good").end()
    assert [span.name for span in receiver.spans()] == ["good"]


def test_many_senders_at_once_lose_nothing(receiver: OtlpReceiver) -> None:
    """The store is thread-safe."""
    senders = [threading.Thread(target=_send, args=(receiver, 25)) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(receiver.spans()) == 200


def _send(receiver: OtlpReceiver, count: int) -> None:
    tracer = tracer_to(receiver)
    for _ in range(count):
        tracer.start_span("one").end()


def test_every_request_is_passed_on_unchanged() -> None:
    """With `forward_to` a second backend gets the same bytes, under headers of its own."""
    with OtlpReceiver() as backend:
        receiver = OtlpReceiver(forward_to=backend.endpoint, forward_headers={"x-key": "1"})
        with receiver:
            tracer_to(receiver, Compression.Gzip).start_span("passed on").end()
        assert backend.spans() == receiver.spans() != []
        assert receiver.forward_failures == ()


def test_a_backend_that_is_away_is_reported_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    """The sender never notices; `forward_failures` names the address and the reason."""
    with OtlpReceiver() as gone:
        pass
    with caplog.at_level(logging.WARNING), OtlpReceiver(forward_to=gone.endpoint) as receiver:
        tracer_to(receiver).start_span("kept").end()
        assert [span.name for span in receiver.spans()] == ["kept"]
    (failure,) = receiver.forward_failures
    assert gone.endpoint in failure
    assert "refused" in failure
    assert caplog.records == []


def test_a_stopped_receiver_takes_nothing_more_and_can_start_again() -> None:
    """Kept-alive connections are closed, too; the address stays."""
    receiver = OtlpReceiver().start()
    tracer, endpoint = tracer_to(receiver), receiver.endpoint
    tracer.start_span("before").end()
    receiver.stop()
    receiver.stop()
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(endpoint, b"", timeout=30)
    with receiver:
        assert receiver.endpoint == endpoint
        tracer.start_span("after").end()
    assert [span.name for span in receiver.spans()] == ["before", "after"]


def test_a_port_that_is_taken_is_an_error() -> None:
    """A fixed port that is in use fails at start, not silently."""
    with OtlpReceiver() as first:
        port = int(first.endpoint.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            OtlpReceiver(port=port).start()


class Slow(OtlpReceiver):
    """Takes an export in, and then its time."""

    def __init__(self) -> None:
        super().__init__()
        self.has_taken, self.may_answer = threading.Event(), threading.Event()

    def add(self, request: Message) -> None:
        super().add(request)
        self.has_taken.set()
        self.may_answer.wait(60)


def test_an_export_that_was_taken_is_answered_before_the_end() -> None:
    """Else its sender sends it a second time, to nobody."""
    receiver = Slow()
    receiver.start()
    stopping = threading.Thread(target=receiver.stop)
    with ThreadPoolExecutor(1) as pool:
        url = f"{receiver.endpoint}/v1/traces"
        request = urllib.request.Request(url, b"", PROTOBUF)
        answer = pool.submit(lambda: urllib.request.urlopen(request, timeout=60).status)
        assert receiver.has_taken.wait(60)
        stopping.start()
        receiver.may_answer.set()
        assert answer.result(60) == 200
    stopping.join(60)
    assert not stopping.is_alive()
