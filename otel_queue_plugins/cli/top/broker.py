"""The queues, looked at again and again by one connection that is made anew when it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.facts import QueueState
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli.queues.access import Access
from otel_queue_plugins.cli.queues.queues_command import chosen_names

_T = TypeVar("_T")
Open = Callable[[], Access]

SEARCH_S: Final = 15.0
"""How long the names of queues that a broker was searched for are used."""


class Broker:
    """Looks at queues, one look after the other, each in the time of the command."""

    def __init__(self, open_access: Open) -> None:
        self._open = open_access
        self._access: Access | None = None
        self._lock = threading.Lock()

    def look(self, ask: Callable[[QueueReader], _T]) -> _T:
        """`ask(reader)`. Raises BrokerError; then the next look connects again."""
        with self._lock:
            access = self._access = self._access or self._open()
            try:
                return access.look_again(ask)
            except BrokerError:
                self._access = None
                access.close()
                raise

    def close(self) -> None:
        """Close the connection, unless a look is using it. Does not wait for that."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._access is not None:
                self._access.close()
        finally:
            self._lock.release()


class Queues:
    """The numbers of the queues; the broker is searched for their names now and then only."""

    def __init__(
        self,
        broker: Broker,
        names: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._named = names
        self._clock = clock
        self._names: list[str] = []
        self._search_at = clock()

    def states(self) -> list[QueueState]:
        """The numbers of each queue, by name. Raises BrokerError."""
        return self._broker.look(self._states)

    def _states(self, reader: QueueReader) -> list[QueueState]:
        if self._clock() >= self._search_at:
            self._names = chosen_names(reader, self._named)
            self._search_at = self._clock() + SEARCH_S * bool(self._names)
        return reader.states(self._names)
