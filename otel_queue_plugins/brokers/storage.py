"""What each way of keeping a queue can do. `reader.QueueReader` makes of it what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.facts import Change, Plan, QueueState, Source, State, StoredMessage
from otel_queue_plugins.brokers.leases import Leases


class Storage(Protocol):
    """The queues of one framework on one broker, over one connection that opens when needed.

    `errors` are the exceptions by which its client says that the broker failed, `timeouts` those
    of them that mean it hangs. `aged` are the states in which ages of messages can be known. What
    cannot be done raises RefusedError.
    """

    source: Source
    aged: tuple[State, ...]
    errors: tuple[type[Exception], ...]
    timeouts: tuple[type[Exception], ...]

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, which may have died since it was used."""
        ...

    def names(self, *, search: bool) -> Mapping[str, str]:
        """The queues, each with where its name comes from. `search` asks the broker, too."""
        ...

    def states(self, queues: Sequence[str], now: float) -> list[QueueState]:
        """The numbers of `queues`, in this order."""
        ...

    def hindrance(self, queue: str, state: State) -> str | None:
        """What a look into `queue` would change; None if it changes nothing."""
        ...

    def scan(
        self,
        queue: str,
        state: State,
        *,
        at_most: int | None,
        newest_first: bool,
        containing: bytes,
    ) -> Iterator[StoredMessage]:
        """The messages of one state, oldest first where the broker keeps an order.

        Messages without the bytes `containing` may be left out, which need not be read then.
        Of a queue that moves meanwhile, newest first misses none, oldest first may. What it
        hinders others from taking is free again when the iterator is closed.
        """
        ...

    def most_dead(self, queue: str) -> int:
        """How many dead letters `queue` can have; RefusedError where there can be none."""
        ...

    def take_dead(self, queue: str, at_most: int, *, chosen: bool) -> Iterator[StoredMessage]:
        """Dead letters for `put_back`, oldest first. `chosen` says that not all will be put back.

        What is not put back stays a dead letter when the iterator is closed.
        """
        ...

    def remove(self, message: StoredMessage, receipt: str) -> bool:
        """Take `message` away; False if it was gone. `receipt` is what `undo` will find it by."""
        ...

    def put_back(self, message: StoredMessage, now: float, cause: SpanContext | None) -> bool:
        """Give a dead letter to the workers again, with all its attempts; False if it was gone."""
        ...

    def plan_purge(self, queue: str, state: State) -> Plan:
        """What a purge of one state would take away, and what would stay."""
        ...

    def purge(self, queue: str, state: State, receipt: str) -> Change:
        """Take the messages of one state away."""
        ...

    def undo(self, queue: str) -> Change:
        """Bring back what the last purge of `queue` took away."""
        ...

    def leases(self, owner: str, lifetime: float, timeout: float) -> Leases:
        """Leases of `lifetime` seconds for the reporter `owner`; no step takes over `timeout` s."""
        ...

    def close(self) -> None:
        """Drop the connection; the next call opens another. Never raises."""
        ...
