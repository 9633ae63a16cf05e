"""A small OTLP/HTTP receiver inside this process, for the demo and for tests.

with OtlpReceiver() as receiver:
    run_something({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint})
    receiver.wait_for(lambda: len(receiver.spans()) >= 2, timeout=10)
"""

from __future__ import annotations

import socket
import threading
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_queue_plugins.cli.forwarding import Forwarder, RawExport
from otel_queue_plugins.cli.otlp_json import from_json
from otel_queue_plugins.cli.store import TelemetryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self

_FORWARD_STOP_S = 5.0
_ANSWER_S = 1.0
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
MOST_BYTES = 64 << 20
"""What a request may have, packed and unpacked."""
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MESSAGES: dict[str, tuple[type[Message], type[Message]]] = {
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
    "/v1/logs": (ExportLogsServiceRequest, ExportLogsServiceResponse),
}


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class OtlpReceiver(TelemetryStore):
    """Keeps the spans, points and logs that are posted to `endpoint`.

    `port` 0 takes a free one. With `forward_to` (a base URL) every request is also passed on
    unchanged, under `forward_headers`; `forward_failures` says what did not get through.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        forward_to: str | None = None,
        forward_headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._port = port
        self._server: _Server | None = None
        self._forwarder = Forwarder(forward_to, forward_headers) if forward_to else None

    @property
    def endpoint(self) -> str:
        """The base URL for `OTEL_EXPORTER_OTLP_ENDPOINT`; stays the same over stop and start."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def forward_failures(self) -> tuple[str, ...]:
        """One line for each request that could not be passed on."""
        return self._forwarder.failures if self._forwarder else ()

    def start(self) -> Self:
        """Listen. An OSError says that the port is taken."""
        self._server = _Server(self._port, self.respond)
        self._port = self._server.server_port
        self._server.start()
        if self._forwarder:
            self._forwarder.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection; what was received stays readable."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._forwarder:
            self._forwarder.stop(_FORWARD_STOP_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def respond(self, export: RawExport) -> Reply:
        """Take one request in. Called in a thread of the connection."""
        if self._forwarder:
            self._forwarder.put(export)
        return self._keep(export)

    def _keep(self, export: RawExport) -> Reply:
        if export.path not in MESSAGES:
            return Reply(404)
        content_type = export.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in {PROTOBUF, JSON}:
            return Reply(415)
        request_type, response_type = MESSAGES[export.path]
        try:
            body = _unpacked(export)
            if content_type == JSON:
                self.add(from_json(body, request_type()))
            else:
                self.add(request_type.FromString(body))
        except (DecodeError, ValueError, OSError, EOFError, zlib.error) as error:
            return Reply(400, str(error).encode())
        answer = b"{}" if content_type == JSON else response_type().SerializeToString()
        return Reply(200, answer, {"Content-Type": content_type})


def _unpacked(export: RawExport) -> bytes:
    """The body, unpacked up to its limit. Raises ValueError beyond that."""
    packed_how = export.headers.get("content-encoding", "identity").strip().lower()
    if packed_how not in _WINDOWS:
        return export.body
    unpacking = zlib.decompressobj(_WINDOWS[packed_how])
    body = unpacking.decompress(export.body, MOST_BYTES)
    if not unpacking.eof:
        raise ValueError(f"the body is cut off, or larger than {MOST_BYTES} bytes")
    return body


class _Server(ThreadingHTTPServer):
    """An HTTP server. Its end answers what it has read, and ends kept-alive connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, respond: Callable[[RawExport], Reply]) -> None:
        self.respond = respond
        self._open: set[Any] = set()
        self._unanswered = 0
        self._lock = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def start(self) -> None:
        threading.Thread(
            target=self.serve_forever, args=(0.05,), name="otlp-receiver", daemon=True
        ).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        with self._lock:
            self._lock.wait_for(lambda: not self._unanswered, _ANSWER_S)
            for connection in self._open:
                _hang_up(connection)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Hold up a stop until the request is answered."""
        with self._lock:
            self._unanswered += 1
        try:
            yield
        finally:
            with self._lock:
                self._unanswered -= 1
                self._lock.notify_all()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_BYTES:
            self.close_connection = True
            self._send(Reply(413 if length.isdigit() else 400))
            return
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.answering():
            self._send(self.server.respond(RawExport(self.path, headers, body)))
            self.wfile.flush()

    def do_GET(self) -> None:
        """Exports are posted."""
        self._send(Reply(405, headers={"Allow": "POST"}))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are counted, not logged."""
