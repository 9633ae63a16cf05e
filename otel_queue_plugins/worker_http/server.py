"""The HTTP server: bounded in time, in requests at once, and in what it reads.

After each call of the system its threads wait for the interpreter, 5 ms or more for each task that
burns processor time. So a request takes as few calls as it can: bytes that are there already are
read, and an answer is sent, without a time limit being set and waited with first. Sockets of
greenlets, which never block the system's thread, wait in any case, and need the limit.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, Final

from otel_queue_plugins.core.safety import log_failure
from otel_queue_plugins.core.settings.kinds import HostPort
from otel_queue_plugins.sdk import greenlets
from otel_queue_plugins.worker_http.answers import Answer, Answers, plain

_log = logging.getLogger("otel_queue_plugins")

MOST_AT_ONCE: Final = 8
_METHODS: Final = ("GET", "HEAD")
_SECONDS_TO_READ: Final = 1.0
_SECONDS_TO_WRITE: Final = 5.0
_SECONDS_TO_REFUSE: Final = 0.05
_MOST_READ: Final = 1 << 16


class Closed(Exception):  # noqa: N818 - no error
    """The server has been closed."""


class Server(ThreadingMixIn, HTTPServer):
    """Serves `answers` at an address. Raises OSError if that cannot be had."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: HostPort, answers: Answers) -> None:
        places = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        # A `localhost` with both is expected at 127.0.0.1.
        family, *_, found = min(places, key=lambda each: each[0] != socket.AF_INET)
        self.address_family = family
        self.answers = answers
        self._free = threading.Semaphore(MOST_AT_ONCE)
        self._connections: set[socket.socket] = set()
        self._is_closed = False
        super().__init__((str(found[0]), int(found[1])), Handler)

    def server_bind(self) -> None:
        """Bind without the look-up of a host name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def serve(self) -> None:
        """Accept and answer requests, until this is closed."""
        if greenlets.is_green():
            with suppress(Closed):
                self.serve_forever(poll_interval=1.0)
            return
        while not self._is_closed:
            try:
                request, address = self.get_request()
            except OSError:  # closed, or a client that is gone
                continue
            try:
                self.process_request(request, address)
            except Exception:  # noqa: BLE001 - no thread can be started: the next one may be
                self.handle_error(request, address)
                self.shutdown_request(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; with 503 at once if eight are being answered."""
        if self._free.acquire(blocking=False):
            self._connections.add(request)
            super().process_request(request, client_address)
        else:
            _refuse(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.discard(request)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base's
        """Log what a connection has failed of."""
        _log.debug("a request to the worker has failed", exc_info=True)

    def service_actions(self) -> None:
        """End `serve_forever` once this is closed."""
        if self._is_closed:
            raise Closed

    def close(self) -> None:
        """Free the port, and wake up the thread that serves. Does not wait for it."""
        self._is_closed = True
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def close_in_child(self) -> None:
        """Close the sockets that a forked process has inherited; those of its parent stay open."""
        for each in (self.socket, *self._connections):
            with suppress(OSError):
                each.close()


class Handler(BaseHTTPRequestHandler):
    """Answers one request, and closes the connection."""

    server: Server
    server_version = "otel-queue"
    sys_version = ""

    def setup(self) -> None:
        """Bound the time in which the request must arrive, and that of the answer."""
        super().setup()
        # All of an answer in one call: after each one the thread may wait for the interpreter.
        self.wfile = self._written = io.BytesIO()
        self.rfile = io.BufferedReader(_UntilDeadline(self.connection, _SECONDS_TO_READ))

    def finish(self) -> None:
        """Nothing is left to be sent."""

    def parse_request(self) -> bool:
        """Read the request; whether it can be answered."""
        if not super().parse_request():
            return False
        if self.command in _METHODS:
            return True
        self._send(plain(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD"))
        self._drop_body()
        return False

    def do_GET(self) -> None:
        """Answer."""
        try:
            answer = self.server.answers.to(self.path, self.headers.get("Accept", ""))
        except Exception:  # noqa: BLE001 - the client gets an answer
            log_failure("an answer over HTTP")
            answer = plain(HTTPStatus.INTERNAL_SERVER_ERROR, "see the log of the worker")
        self._send(answer)

    do_HEAD = do_GET  # noqa: N815 - likewise

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is not HTTP."""
        del explain
        self.close_connection = True
        self._send(plain(code, message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: a probe comes every few seconds."""

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", ", ".join(_METHODS))
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        _send_all(self.connection, self._written.getvalue())

    def _drop_body(self) -> None:
        """Read what comes after the headers: unread, it would reset the connection."""
        self.connection.shutdown(socket.SHUT_WR)
        left = _MOST_READ
        with suppress(OSError):
            while left > 0 and (part := self.rfile.read1(left)):
                left -= len(part)


class _UntilDeadline(io.RawIOBase):
    """Reads a connection for so many seconds at most, however slowly bytes arrive."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError after the deadline."""
        if not greenlets.is_green():
            with suppress(BlockingIOError):
                return self._connection.recv_into(buffer, 0, socket.MSG_DONTWAIT)
        self._connection.settimeout(max(0.001, self._deadline - time.monotonic()))
        return self._connection.recv_into(buffer)


def _send_all(connection: socket.socket, content: bytes) -> None:
    sent = 0
    if not greenlets.is_green():
        with suppress(BlockingIOError):
            sent = connection.send(content, socket.MSG_DONTWAIT)
    if sent < len(content):
        connection.settimeout(_SECONDS_TO_WRITE)
        connection.sendall(memoryview(content)[sent:])


def _refuse(request: socket.socket) -> None:
    body = f"{MOST_AT_ONCE} requests are being answered\n"
    head = "HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 1\r\n"
    with suppress(OSError):
        request.settimeout(_SECONDS_TO_REFUSE)
        request.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        request.shutdown(socket.SHUT_WR)
        request.recv(_MOST_READ)
