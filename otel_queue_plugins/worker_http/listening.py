"""The thread that listens: it takes the port when it may, and serves until it is closed."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from otel_queue_plugins.sdk import greenlets
from otel_queue_plugins.sdk.config.serving import Place
from otel_queue_plugins.sdk.process import forks
from otel_queue_plugins.worker_http import turns
from otel_queue_plugins.worker_http.answers import Answers
from otel_queue_plugins.worker_http.server import Server

_log = logging.getLogger("otel_queue_plugins")

_SECONDS_BETWEEN_TRIES: Final = 5.0


class Listening:
    """Of one process. With `has_siblings` it waits until no other process of the worker serves."""

    def __init__(self, place: Place, answers: Answers, *, has_siblings: bool) -> None:
        self._place = place
        self._answers = answers
        self._has_siblings = has_siblings
        self._closed = threading.Event()
        self._turn: socket.socket | None = None
        self._server: Server | None = None

    def start(self) -> None:
        """Start the thread. Under gevent and eventlet it is none of their greenlets."""
        forks.register_hooks()
        forks.call_in_child(self.close_in_child)
        greenlets.start_native_thread(self._run, "otel-queue-http")

    def close(self) -> None:
        """Free the port. Does not wait."""
        self._closed.set()
        if self._server is not None:
            self._server.close()
        self.close_in_child()

    def close_in_child(self) -> None:
        """Close the sockets, which a forked process has inherited."""
        server, self._server = self._server, None
        turn, self._turn = self._turn, None
        if server is not None:
            server.close_in_child()
        if turn is not None:
            with suppress(OSError):
                turn.close()

    def _run(self) -> None:
        try:
            if self._has_siblings:
                self._turn = turns.wait_for_turn(self._closed.is_set)
            server = self._bound()
            if server is not None:
                self._server = server
                server.serve()
        except Exception:  # noqa: BLE001 - the worker runs on
            _log.exception("the worker answers no more over HTTP")

    def _bound(self) -> Server | None:
        """The server, as soon as the port is free; None if this was closed meanwhile."""
        server = self._try_to_bind(self._report)
        while server is None and not self._closed.wait(_SECONDS_BETWEEN_TRIES):
            server = self._try_to_bind(lambda _: None)
        return server

    def _try_to_bind(self, report: Callable[[OSError], None]) -> Server | None:
        try:
            return Server(self._place.address, self._answers)
        except OSError as error:
            report(error)
            return None

    def _report(self, error: OSError) -> None:
        host, port = self._place.address
        _log.error(
            "%s: the worker cannot listen at %s:%s (%s) and runs without; it tries again every "
            "%.0f s. Give each worker of a machine its own port",
            *(self._place.variable, host, port, error.strerror or error, _SECONDS_BETWEEN_TRIES),
        )
