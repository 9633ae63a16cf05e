"""OTLP receivers that fail on request: `receiver.fault = Fault.HANG` at any moment."""

from __future__ import annotations

import enum
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from otel_queue_plugins.cli.receiver import MESSAGES, OtlpReceiver, Reply
from tests.expectations import Expectations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from otel_queue_plugins.cli.forwarding import RawExport

_SLOW_S = 0.5
_GARBAGE = b"\xff\xfe not protobuf \x00"
_GRPC_PATHS = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "/v1/traces",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "/v1/metrics",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "/v1/logs",
}


class Fault(enum.Enum):
    """How a receiver behaves. Only OK and SLOW store what was received."""

    OK = "ok"
    REFUSE = "the port is closed, and so are the connections"
    HANG = "requests are read and not answered until the fault changes"
    UNAVAILABLE = "503 / UNAVAILABLE"
    RETRY_AFTER = "503 / UNAVAILABLE with a delay of `retry_after_s`"
    SLOW = "kept, and answered after `slow_s`"
    GARBAGE = "200 / OK with a body that is no protobuf"
    REJECT = "the status of HTTP or gRPC that `rejection` says, with the headers that it has"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """An export request as it came, whatever the fault. `headers` have lower-case names."""

    path: str
    headers: Mapping[str, str]
    size: int
    at: float
    fault: Fault


class _Faults(Expectations):
    """The switch, and the record of requests, that both receivers share."""

    def __init__(self) -> None:
        super().__init__()
        self.slow_s = _SLOW_S
        self.retry_after_s = 1
        self.rejection = Reply(404)
        self.rejection_code = "UNIMPLEMENTED"
        self.rejection_details = "no"
        self._fault = Fault.OK
        self._requests: list[ReceivedRequest] = []
        self._reserved = _reserved_port()

    @property
    def fault(self) -> Fault:
        """The current behaviour; setting it also answers hanging requests."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        with self._arrival:
            before, self._fault = self._fault, fault
            self._arrival.notify_all()
        if fault is Fault.REFUSE and before is not Fault.REFUSE:
            self._close_port()
        elif before is Fault.REFUSE and fault is not Fault.REFUSE:
            self._open_port()

    def requests(self, path: str | None = None) -> list[ReceivedRequest]:
        """The requests so far, of one path (`/v1/traces`, ...) or all. `until` sees each come."""
        with self._arrival:
            return [each for each in self._requests if path in (None, each.path)]

    def _note(self, path: str, headers: Mapping[str, str], size: int) -> Fault:
        with self._arrival:
            request = ReceivedRequest(
                path=path, headers=headers, size=size, at=time.monotonic(), fault=self._fault
            )
            self._requests.append(request)
            self._arrival.notify_all()
        return request.fault

    def _hang(self) -> None:
        with self._arrival:
            self._arrival.wait_for(lambda: self._fault is not Fault.HANG)

    def _open_port(self) -> None:
        raise NotImplementedError

    def _close_port(self) -> None:
        raise NotImplementedError


class FaultyReceiver(_Faults, OtlpReceiver):
    """OTLP over HTTP with faults. The port stays its own while it refuses."""

    protocol = "http/protobuf"

    def __init__(self) -> None:
        super().__init__()
        self._port = self._reserved.getsockname()[1]

    def start(self) -> Self:
        """Listen."""
        self._open_port()
        return self

    def stop(self) -> None:
        """Close the port and answer hanging requests."""
        self.fault = Fault.REFUSE
        self._reserved.close()

    def respond(self, export: RawExport) -> Reply:
        """Record the request, then behave as `fault` says."""
        fault = self._note(export.path, export.headers, len(export.body))
        if fault is Fault.HANG:
            self._hang()
            return Reply(503)
        if fault is Fault.UNAVAILABLE:
            return Reply(503)
        if fault is Fault.RETRY_AFTER:
            return Reply(503, b"", {"Retry-After": str(self.retry_after_s)})
        if fault is Fault.GARBAGE:
            return Reply(200, _GARBAGE, {"Content-Type": "text/html"})
        if fault is Fault.REJECT:
            return self.rejection
        if fault is Fault.SLOW:
            time.sleep(self.slow_s)
        return super().respond(export)

    def _open_port(self) -> None:
        OtlpReceiver.start(self)

    def _close_port(self) -> None:
        OtlpReceiver.stop(self)


class GrpcReceiver(_Faults):
    """OTLP over gRPC with the same faults."""

    protocol = "grpc"

    def __init__(self) -> None:
        super().__init__()
        self._server: Any = None

    @property
    def endpoint(self) -> str:
        """For `OTEL_EXPORTER_OTLP_ENDPOINT`, plain text."""
        return f"http://127.0.0.1:{self._reserved.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._open_port()
        return self

    def __exit__(self, *_: object) -> None:
        self.fault = Fault.REFUSE
        self._reserved.close()

    def _open_port(self) -> None:
        self._server = grpc.server(
            ThreadPoolExecutor(32, "otlp-grpc"), options=[("grpc.so_reuseport", 1)]
        )
        self._server.add_generic_rpc_handlers([_ExportHandler(self)])
        if not self._server.add_insecure_port(self.endpoint.removeprefix("http://")):
            raise OSError(f"cannot listen on {self.endpoint}")
        self._server.start()

    def _close_port(self) -> None:
        self._server.stop(grace=None).wait()

    def answer(self, path: str, body: bytes, context: Any) -> bytes:
        """Record one request, then behave as `fault` says. Runs in a thread of the server."""
        headers = {key: str(value) for key, value in context.invocation_metadata()}
        fault = self._note(path, headers, len(body))
        if fault is Fault.HANG:
            self._hang()
        if fault is Fault.RETRY_AFTER:
            context.set_trailing_metadata([_retry_info(self.retry_after_s)])
        if fault is Fault.REJECT:
            context.abort(grpc.StatusCode[self.rejection_code], self.rejection_details)
        if fault in (Fault.HANG, Fault.UNAVAILABLE, Fault.RETRY_AFTER):
            context.abort(grpc.StatusCode.UNAVAILABLE, fault.value)
        if fault is Fault.GARBAGE:
            return _GARBAGE
        if fault is Fault.SLOW:
            time.sleep(self.slow_s)
        request_type, response_type = MESSAGES[path]
        self.add(request_type.FromString(body))
        return response_type().SerializeToString()


class _ExportHandler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Raw bytes in and out, so that an answer can be garbage."""

    def __init__(self, receiver: GrpcReceiver) -> None:
        self._receiver = receiver

    def service(self, handler_call_details: Any) -> Any:
        path = _GRPC_PATHS.get(handler_call_details.method)
        if path is None:
            return None
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self._receiver.answer(path, body, context)
        )


def _retry_info(delay_s: int) -> tuple[str, bytes]:
    status = Status(code=grpc.StatusCode.UNAVAILABLE.value[0])
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=delay_s)))
    return "grpc-status-details-bin", status.SerializeToString()


def _reserved_port() -> socket.socket:
    """A bound socket that never listens: it keeps the port from others while we refuse."""
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keeper.bind(("127.0.0.1", 0))
    return keeper
