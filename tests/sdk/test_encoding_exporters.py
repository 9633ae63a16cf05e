"""The exporters that are set up send what our encoder has encoded, and do all else as before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from otel_queue_plugins.sdk.config.targets import GRPC, Target
from otel_queue_plugins.sdk.export import otlp_exporters
from otel_queue_plugins.sdk.fastpath import encoding
from otel_queue_plugins.sdk.fastpath.encoding import attaching
from tests.receiver import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sdk.conftest import Programs, Receiver

RESOURCE = Resource({"service.name": "shop"})
SIGNALS = ("traces", "logs")


def span(**attributes: Any) -> ReadableSpan:
    """An ended span."""
    return ReadableSpan(
        "pay",
        SpanContext(1, 2, is_remote=False),
        resource=RESOURCE,
        attributes=attributes,
        start_time=1,
        end_time=2,
    )


def log(**attributes: Any) -> ReadableLogRecord:
    """A log record as exporters get it."""
    return ReadableLogRecord(LogRecord(body="paid", attributes=attributes), RESOURCE)


def exporter(receiver: Receiver, signal: str, compression: str = "none", **more: Any) -> Any:
    """An exporter as the set-up makes it."""
    path = "" if receiver.protocol == GRPC else f"/v1/{signal}"
    target = Target(
        **{
            "signal": signal,
            "protocol": receiver.protocol,
            "endpoint": f"{receiver.endpoint}{path}",
            "insecure": True,
            "headers": (("x-shop", "7"),),
            "timeout": 10.0,
            "compression": compression,
            "certificate": None,
            "client_key": None,
            "client_certificate": None,
            "named_by": "OTEL_EXPORTER_OTLP_ENDPOINT",
            "headers_by": "OTEL_EXPORTER_OTLP_HEADERS",
            **more,
        }
    )
    make = {"traces": otlp_exporters.span_exporter, "logs": otlp_exporters.log_exporter}[signal]
    return make(target)


@pytest.fixture
def arrived(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages that have arrived."""
    messages: list[Any] = []
    monkeypatch.setattr(receiver, "add", messages.append)
    return messages


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The batches that our encoders have got."""
    batches: list[Any] = []
    for encoder in (encoding.span_encoder(), encoding.log_encoder()):
        assert encoder is not None
        monkeypatch.setattr(encoder, "request", _recording(encoder.request, batches))
    return batches


def _recording(request: Callable[[Any], bytes], batches: list[Any]) -> Callable[[Any], bytes]:
    def record_batch(batch: Any) -> bytes:
        batches.append(batch)
        return request(batch)

    return record_batch


def batch_of(signal: str, **attributes: Any) -> tuple[list[Any], Any]:
    """Two records, and the official encoder's message for them."""
    make, encode = {"traces": (span, encode_spans), "logs": (log, encode_logs)}[signal]
    batch = [make(key="a"), make(**attributes)]
    return batch, encode(batch)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_exported_records_arrive_as_with_the_official_encoder(
    receiver: Receiver, arrived: list[Any], encoded: list[Any], signal: str, compression: str
) -> None:
    """Path, headers and compression are those of the official exporter."""
    if compression == "deflate" and receiver.protocol == GRPC:
        pytest.skip("gRPC has no deflate")
    batch, message = batch_of(signal, number=1)
    ours = exporter(receiver, signal, compression)
    assert ours.export(batch).name == "SUCCESS"
    ours.shutdown()
    assert arrived == [message]
    assert encoded == [batch]
    (request,) = receiver.requests()
    assert (request.path, request.headers["x-shop"]) == (f"/v1/{signal}", "7")
    if receiver.protocol != GRPC:
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers.get("content-encoding", "none") == compression


@pytest.mark.parametrize("signal", SIGNALS)
def test_refused_export_is_retried(receiver: Receiver, arrived: list[Any], signal: str) -> None:
    """The exporter's own rules apply, with the same bytes."""
    batch, message = batch_of(signal)
    ours = exporter(receiver, signal)
    receiver.fault = Fault.UNAVAILABLE
    with ThreadPoolExecutor(1) as pool:
        exported = pool.submit(ours.export, batch)
        receiver.until(lambda: bool(receiver.requests()), "request")
        receiver.fault = Fault.OK
        assert exported.result(timeout=20).name == "SUCCESS"
    ours.shutdown()
    assert arrived == [message]


@pytest.mark.parametrize("signal", SIGNALS)
def test_export_timeout_ends_the_export(receiver: Receiver, signal: str) -> None:
    """The timeout is that of the exporter."""
    receiver.fault = Fault.HANG
    ours = exporter(receiver, signal, timeout=0.5)
    assert ours.export(batch_of(signal)[0]).name == "FAILURE"
    ours.shutdown()


def official(receiver: Receiver, signal: str) -> Any:
    """The exporter as a user would make it."""
    package = f"opentelemetry.exporter.otlp.proto.{'grpc' if receiver.protocol == GRPC else 'http'}"
    names = {
        "traces": ("trace_exporter", "OTLPSpanExporter"),
        "logs": ("_log_exporter", "OTLPLogExporter"),
    }
    module, name = names[signal]
    endpoint = (
        receiver.endpoint if receiver.protocol == GRPC else f"{receiver.endpoint}/v1/{signal}"
    )
    return getattr(import_module(f"{package}.{module}"), name)(endpoint=endpoint, timeout=10)


def outcome_of(export: Callable[[Any], Any], batch: list[Any]) -> Any:
    """The result of a call, or the exception that it raised."""
    try:
        return export(batch)
    except Exception as error:  # noqa: BLE001 - any that the official exporter raises
        return type(error)


@pytest.mark.parametrize("signal", SIGNALS)
def test_record_that_cannot_be_encoded_is_handled_as_officially(
    receiver: Receiver, arrived: list[Any], signal: str
) -> None:
    """The batch is dropped, or the export raises, as with the official exporter."""
    make = {"traces": span, "logs": log}[signal]
    hopeless = make()
    if signal == "traces":
        hopeless._name = "\ud800"
    else:
        object.__setattr__(hopeless.log_record, "body", object())
    theirs, ours = official(receiver, signal), exporter(receiver, signal)
    expected = outcome_of(theirs.export, [hopeless])
    assert outcome_of(ours.export, [hopeless]) == expected
    assert getattr(expected, "name", "") != "SUCCESS"
    assert arrived == []
    assert ours.export([make(good=1)]).name == "SUCCESS"
    theirs.shutdown()
    ours.shutdown()
    assert len(arrived) == 1


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("bad", ["\ud800", 2**64, object()], ids=["surrogate", "huge", "object"])
def test_attribute_that_cannot_be_encoded_is_left_out(
    receiver: Receiver, arrived: list[Any], signal: str, bad: Any
) -> None:
    """The other attributes are exported, as with the official exporter."""
    batch, message = batch_of(signal, good=1, bad=bad)
    ours = exporter(receiver, signal)
    assert ours.export(batch).name == "SUCCESS"
    ours.shutdown()
    assert arrived == [message]


def test_value_nested_too_deeply_is_handled_as_officially(receiver: Receiver) -> None:
    """It can be written but not read; the result is that of the official exporter."""
    nested: Any = "a"
    for _ in range(150):
        nested = [nested]
    theirs, ours = official(receiver, "traces"), exporter(receiver, "traces", timeout=2)
    for each in (theirs, ours):
        outcome_of(each.export, [span(deep=nested)])
        each.shutdown()
    sizes = [request.size for request in receiver.requests()]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("signal", SIGNALS)
def test_attach_leaves_a_patched_exporter_unchanged(
    receiver: Receiver,
    arrived: list[Any],
    encoded: list[Any],
    signal: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another library may have replaced the method, or the encoder that it calls."""
    theirs = official(receiver, signal)
    module = import_module(type(theirs).__module__)
    name = {"traces": "encode_spans", "logs": "encode_logs"}[signal]
    monkeypatch.setattr(module, name, getattr(module, name).__call__)
    theirs.shutdown()
    ours = exporter(receiver, signal)
    batch, message = batch_of(signal)
    assert ours.export(batch).name == "SUCCESS"
    ours.shutdown()
    assert (arrived, encoded) == ([message], [])


@pytest.mark.parametrize("protocol", ["http/protobuf"], indirect=True)
def test_attach_keeps_a_wrapper_around_export(
    receiver: Receiver, arrived: list[Any], encoded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrapper around `export` is still called."""
    theirs = official(receiver, "traces")
    theirs.shutdown()
    calls: list[Any] = []
    export = type(theirs).export

    @wraps(export)
    def wrapper(self: Any, spans: Any) -> Any:
        calls.append(spans)
        return export(self, spans)

    monkeypatch.setattr(type(theirs), "export", wrapper)
    ours = exporter(receiver, "traces")
    batch, message = batch_of("traces")
    assert ours.export(batch).name == "SUCCESS"
    ours.shutdown()
    assert (arrived, encoded, calls) == ([message], [], [batch])


def test_attach_leaves_an_unknown_exporter_unchanged(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is set on an exporter of an unknown kind."""
    other = SimpleNamespace()
    with caplog.at_level("DEBUG", "otel_queue_plugins"):
        assert attaching.attach(encoding.span_encoder(), other) is other
    assert not vars(other)
    assert "no kind that can use our encoder" in caplog.text
    assert attaching.attach(None, other) is other


def test_attach_leaves_an_exporter_that_raises_unchanged() -> None:
    """The exporter is returned whatever happens."""

    class Closed:
        __slots__ = ()

        def export(self) -> None: ...

    other = Closed()
    assert attaching.attach(encoding.span_encoder(), other) is other


@pytest.mark.parametrize("switch", ["", "off"])
def test_exporters_from_the_environment_use_our_encoder(
    programs: Programs, receiver: Receiver, protocol: str, switch: str
) -> None:
    """For spans and log records, in the process and in a forked child; not for metrics."""
    program = programs.start(
        "encoding_script",
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_LOGS_EXPORTER="otlp",
        OTEL_QUEUE_FASTPATH=switch,
    )
    assert program.wait() == 0
    for who in ("parent", "child"):
        receiver.expect_span(who, timeout=30)
        given = "[]" if switch else "[('ReadableLogRecord', 1), ('ReadableSpan', 1)]"
        assert f"encoded {who} {given}" in program.log
    assert {log.body for log in receiver.logs()} >= {"of parent", "of child"}
