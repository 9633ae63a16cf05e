"""Brokers that cannot be looked at safely: the names that the app declares, and a reason.

Many of kombu's transports create a queue when they are asked for its size; so they are not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from otel_queue_plugins.brokers.answers import all_unknown
from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Plan, QueueState, Source, State, StoredMessage
from otel_queue_plugins.brokers.in_memory.shared import Unconnected


class UnknownStorage(Unconnected):
    """See `storage.Storage`. `reason` is why nothing is known."""

    def __init__(
        self, source: Source, reason: str, *, configured: Callable[[], Mapping[str, str]]
    ) -> None:
        super().__init__(source)
        self._reason = reason
        self._configured = configured

    def names(self, *, search: bool) -> Mapping[str, str]:
        """What the app declares."""
        return self._configured()

    def states(self, queues: Sequence[str], now: float) -> list[QueueState]:
        """All numbers unknown."""
        return [all_unknown(queue, self.source.system, self._reason) for queue in queues]

    def scan(
        self,
        queue: str,
        state: State,
        *,
        at_most: int | None,
        newest_first: bool,
        containing: bytes,
    ) -> Iterator[StoredMessage]:
        """Refused."""
        raise RefusedError(self._reason)

    def most_dead(self, queue: str) -> int:
        """Refused."""
        raise RefusedError(self._reason)

    def remove(self, message: StoredMessage, receipt: str) -> bool:
        """Refused."""
        raise RefusedError(self._reason)

    def plan_purge(self, queue: str, state: State) -> Plan:
        """Refused."""
        raise RefusedError(self._reason)

    def purge(self, queue: str, state: State, receipt: str) -> Change:
        """Refused."""
        raise RefusedError(self._reason)
