"""Leases on RabbitMQ: for each queue an exclusive queue, which one connection alone can have.

The broker deletes it when the connection ends. A connection whose owner hangs ends when its
heartbeats are missed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from otel_queue_plugins.brokers.bounded import BoundedThread
from otel_queue_plugins.brokers.leases import Held
from otel_queue_plugins.brokers.on_rabbitmq.session import Session
from otel_queue_plugins.core.api import forking

PREFIX: Final = "otq.reporter."
_SECONDS_BETWEEN_HEARTBEATS: Final = 1.0


class QueueLocks:
    """See `leases.Leases`. They are held on a connection and in a thread of their own.

    `lifetime` is in seconds: for how long a lease counts as held without an answer of the broker.
    The broker keeps it for two heartbeats at least, which is more.
    """

    def __init__(
        self,
        session: Session,
        lifetime: float,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session.another(heartbeat=math.ceil(lifetime / 2))
        self._lifetime = lifetime
        self._timeout = timeout
        self._clock = clock
        self._held: set[str] = set()
        self._connections = 0
        self._thread: BoundedThread | None = None
        forking.call_in_children(self._close_inherited_socket)

    def hold(self, queues: Sequence[str]) -> Held:
        """See `leases.Leases`."""
        if not queues and not self._held:
            return Held()
        until = self._clock() + self._lifetime
        try:
            mine = self._call(lambda: self._lock(queues))
        except BaseException:
            self._connections += 1
            raise
        connection = self._connections
        return Held(
            until=dict.fromkeys(mine, until), is_lost=lambda: connection != self._connections
        )

    def close(self) -> None:
        """See `leases.Leases`. The broker gives back what a closed connection held."""
        self._connections += 1
        thread, self._thread = self._thread, None
        if thread is not None:
            with suppress(TimeoutError):
                thread.call(self._session.close, self._timeout)
            thread.stop()

    def _lock(self, queues: Sequence[str]) -> set[str]:
        try:
            for queue in self._held.difference(queues):
                self._session.unlock(PREFIX + queue)
            self._held = {queue for queue in queues if self._session.lock(PREFIX + queue)}
        except self._session.errors:
            self._give_up()
            raise
        return self._held

    def _serve(self) -> None:
        """Send and read heartbeats, and notice that the connection has ended."""
        if self._session.is_open:
            try:
                self._session.serve()
            except self._session.errors:
                self._give_up()

    def _give_up(self) -> None:
        self._connections += 1
        self._held = set()
        self._session.close()

    def _call(self, act: Callable[[], set[str]]) -> set[str]:
        if self._thread is None:
            self._thread = BoundedThread(
                self._session.close, when_idle=self._serve, idle_s=_SECONDS_BETWEEN_HEARTBEATS
            )
        try:
            return self._thread.call(act, 2 * self._timeout)
        except TimeoutError:
            self._thread = None
            raise

    def _close_inherited_socket(self) -> None:
        """In a forked child: as long as it had the socket, the broker would see no end of it."""
        inherited = self._session.socket()
        if inherited is not None:
            with suppress(Exception):
                inherited.close()
