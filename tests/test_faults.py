"""The receivers of the tests fail on request, over HTTP and gRPC, and recover on one port."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import grpc  # type: ignore[import-untyped]
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.receiver import Fault, FaultyReceiver, GrpcReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan


@pytest.fixture(params=[FaultyReceiver, GrpcReceiver])
def receiver(request: pytest.FixtureRequest) -> Iterator[FaultyReceiver | GrpcReceiver]:
    """A receiver of each protocol."""
    with request.param() as receiver:
        yield receiver


@pytest.fixture
def span() -> ReadableSpan:
    """Something to export."""
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("work")
    span.end()
    return span  # type: ignore[return-value]


def exporter_to(receiver: FaultyReceiver | GrpcReceiver, timeout: float = 0.5) -> SpanExporter:
    """An exporter that gives up soon."""
    if receiver.protocol == "grpc":
        return GrpcExporter(receiver.endpoint, insecure=True, timeout=timeout)
    return HttpExporter(f"{receiver.endpoint}/v1/traces", timeout=timeout)


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANG, Fault.UNAVAILABLE, Fault.RETRY_AFTER])
def test_failing_receiver_stores_nothing_and_recovers(
    receiver: FaultyReceiver | GrpcReceiver, span: ReadableSpan, fault: Fault
) -> None:
    """The export fails, the request is recorded, and after OK the same address works."""
    receiver.fault = fault
    assert exporter_to(receiver).export([span]) is SpanExportResult.FAILURE
    assert receiver.spans() == []
    assert {request.fault for request in receiver.requests()} <= {fault}
    assert bool(receiver.requests("/v1/traces")) is (fault is not Fault.REFUSE)
    receiver.fault = Fault.OK
    assert exporter_to(receiver, timeout=60).export([span]) is SpanExportResult.SUCCESS
    assert [each.name for each in receiver.spans()] == ["work"]


def test_hanging_request_is_answered_when_the_fault_changes(
    receiver: FaultyReceiver | GrpcReceiver, span: ReadableSpan
) -> None:
    """A sender that waits gets its answer, and no thread of the receiver is left."""
    receiver.fault = Fault.HANG
    exporter = exporter_to(receiver, timeout=20)
    sender = threading.Thread(target=exporter.export, args=([span],))
    sender.start()
    receiver.until(lambda: bool(receiver.requests()), "request")
    receiver.fault = Fault.OK
    sender.join(60)
    assert not sender.is_alive()


def test_slow_receiver_stores_everything(
    receiver: FaultyReceiver | GrpcReceiver, span: ReadableSpan
) -> None:
    """A slow answer is a good answer."""
    receiver.fault, receiver.slow_s = Fault.SLOW, 0.05
    assert exporter_to(receiver, timeout=60).export([span]) is SpanExportResult.SUCCESS
    assert len(receiver.spans()) == 1


def test_garbage_answer_stores_nothing(
    receiver: FaultyReceiver | GrpcReceiver, span: ReadableSpan
) -> None:
    """The answer is no protobuf, with a status of success."""
    receiver.fault = Fault.GARBAGE
    exporter_to(receiver).export([span])
    assert receiver.spans() == []
    assert len(receiver.requests()) == 1


def test_retry_after_is_sent_to_the_exporter(receiver: FaultyReceiver | GrpcReceiver) -> None:
    """The header or trailer that an exporter reads is sent."""
    receiver.fault, receiver.retry_after_s = Fault.RETRY_AFTER, 7
    assert _told_delay_s(receiver) == 7


def _told_delay_s(receiver: FaultyReceiver | GrpcReceiver) -> int:
    if receiver.protocol == "http/protobuf":
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(f"{receiver.endpoint}/v1/traces", b"", timeout=5)
        with refusal.value:
            return int(refusal.value.headers["Retry-After"])
    with grpc.insecure_channel(receiver.endpoint.removeprefix("http://")) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as error:
            export(b"", timeout=5)
    details = dict(error.value.trailing_metadata())["grpc-status-details-bin"]
    info = RetryInfo()
    Status.FromString(details).details[0].Unpack(info)
    return int(info.retry_delay.seconds)
