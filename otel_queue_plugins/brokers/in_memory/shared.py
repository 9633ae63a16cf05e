"""What all storages have in common that need no connection."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Source, State, StoredMessage
from otel_queue_plugins.brokers.leases import Leases, Unshared


class Unconnected:
    """The parts of `storage.Storage` that are the same for them; what few can do is refused."""

    errors: tuple[type[Exception], ...] = ()
    timeouts: tuple[type[Exception], ...] = ()
    is_connected = False
    aged: tuple[State, ...] = ("ready",)

    def __init__(self, source: Source) -> None:
        self.source = source

    def hindrance(self, queue: str, state: State) -> str | None:
        """Nothing: looking is free."""
        return None

    def most_dead(self, queue: str) -> int:
        """See `storage.Storage`."""
        raise RefusedError("there are no dead letters")

    def take_dead(self, queue: str, at_most: int, *, chosen: bool) -> Iterator[StoredMessage]:
        """See `storage.Storage`."""
        raise RefusedError("there are no dead letters")

    def put_back(self, message: StoredMessage, now: float, cause: SpanContext | None) -> bool:
        """See `storage.Storage`."""
        raise RefusedError("there are no dead letters")

    def undo(self, queue: str) -> Change:
        """Refused: nothing is kept."""
        raise RefusedError("nothing is kept of what was purged")

    def leases(self, owner: str, lifetime: float, timeout: float) -> Leases:
        """Nobody outside of this process has these queues."""
        return Unshared()

    def close(self) -> None:
        """Nothing to close."""
