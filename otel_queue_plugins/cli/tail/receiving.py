"""The receiver of `tail`: OTLP over HTTP, and over gRPC where grpcio is installed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_queue_plugins.cli.forwarding import RawExport
from otel_queue_plugins.cli.otlp import read_points, read_spans
from otel_queue_plugins.cli.receiver import PROTOBUF, OtlpReceiver, Reply
from otel_queue_plugins.cli.tail.gathering import Gathering

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from otel_queue_plugins.cli.received import ReceivedPoint, ReceivedSpan

_SERVICES: Final = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "/v1/traces",
    "opentelemetry.proto.collector.metrics.v1.MetricsService": "/v1/metrics",
    "opentelemetry.proto.collector.logs.v1.LogsService": "/v1/logs",
}
_MOST_SERIES: Final = 10_000
_GRPC_STOP_S: Final = 0.5


class TailReceiver(OtlpReceiver):
    """Gathers traces; of metrics it keeps the last point of each series."""

    def __init__(
        self,
        gathering: Gathering,
        *,
        port: int,
        forward_to: str | None = None,
        forward_headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(port=port, forward_to=forward_to, forward_headers=forward_headers)
        self._gathering = gathering
        self._latest: dict[object, ReceivedPoint] = {}
        self._arrived = threading.Condition()
        self._is_woken = False

    def add(self, request: Message) -> None:
        """Take an export request in."""
        with self._arrived:
            if isinstance(request, ExportTraceServiceRequest):
                self._gathering.add(read_spans(request))
            elif isinstance(request, ExportMetricsServiceRequest):
                for point in read_points(request):
                    self._keep_point(point)
            self._is_woken = True
            self._arrived.notify_all()

    def points(self) -> list[ReceivedPoint]:
        """The last point of each series."""
        with self._arrived:
            return list(self._latest.values())

    def spans_of(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace, as far as they have come."""
        with self._arrived:
            return self._gathering.spans_of(trace_id)

    def wake(self) -> None:
        """End a wait."""
        with self._arrived:
            self._is_woken = True
            self._arrived.notify_all()

    def due(self, seconds: float) -> list[tuple[list[ReceivedSpan], bool]]:
        """The traces to show, of which some may come within so many seconds."""
        with self._arrived:
            found = list(self._gathering.due())
            if not found:
                left = self._gathering.seconds_left()
                wait = seconds if left is None else min(seconds, left)
                self._arrived.wait_for(lambda: self._is_woken, wait)
                found = list(self._gathering.due())
            self._is_woken = False
            return found

    def _keep_point(self, point: ReceivedPoint) -> None:
        instance = point.resource.get("service.instance.id")
        labels = sorted((name, str(value)) for name, value in point.attributes.items())
        key = (instance, point.name, tuple(labels))
        if len(self._latest) < _MOST_SERIES or key in self._latest:
            self._latest[key] = point


def serve_grpc(port: int, respond: Callable[[RawExport], Reply]) -> Callable[[], None] | None:
    """Let `respond` take OTLP over gRPC at `port` of this machine. Returns what ends that.

    Returns None without grpcio. Raises OSError if the port is taken.
    """
    if find_spec("grpc") is None:
        return None
    grpc: Any = import_module("grpc")
    threads = ThreadPoolExecutor(4, "otlp-grpc")
    server = grpc.server(threads, options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers(
        tuple(_handler(grpc, name, path, respond) for name, path in _SERVICES.items())
    )
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise OSError(f"port {port} is taken") from error
    if not bound:
        raise OSError(f"port {port} is taken")
    server.start()
    return lambda: server.stop(_GRPC_STOP_S).wait()


def _handler(grpc: Any, name: str, path: str, respond: Callable[[RawExport], Reply]) -> Any:
    def export(request: bytes, context: Any) -> bytes:
        reply = respond(RawExport(path, {"content-type": PROTOBUF}, request))
        if reply.status != HTTPStatus.OK:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, reply.body.decode())
        return reply.body

    method = grpc.unary_unary_rpc_method_handler(export)
    return grpc.method_handlers_generic_handler(name, {"Export": method})
