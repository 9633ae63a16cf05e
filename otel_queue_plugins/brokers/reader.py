"""What workers' reporter and the command line ask of queues, whatever keeps them.

One reader belongs to one thread, and has one connection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers import requeueing
from otel_queue_plugins.brokers.asking import AskedLeases, Asking
from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import (
    STATES,
    Change,
    Found,
    Plan,
    QueueState,
    Source,
    State,
    StoredMessage,
)
from otel_queue_plugins.brokers.leases import Leases
from otel_queue_plugins.brokers.requeueing import Moved
from otel_queue_plugins.brokers.selection import ALL, Selection
from otel_queue_plugins.brokers.storage import Storage

Clock = Callable[[], float]

MAX_DISTURBED: Final = 10


class QueueReader:
    """The queues of one framework on one broker.

    Raises BrokerError when the broker cannot be reached in time, RefusedError for what cannot be
    done there without a risk; nothing was changed then. Nothing is cached: each call asks.
    """

    def __init__(self, storage: Storage, clock: Clock = time.time) -> None:
        self._storage = storage
        self._asking = Asking(storage)
        self._clock = clock

    @property
    def source(self) -> Source:
        """Whose queues these are, and where."""
        return self._storage.source

    @property
    def aged(self) -> tuple[State, ...]:
        """The states in which ages of messages can be known; elsewhere 0 says nothing."""
        return self._storage.aged

    def names(self, *, search: bool = False) -> dict[str, str]:
        """The queues by name, each with where the name comes from. `search` asks the broker, too.

        Searching walks over all keys of a Redis database: for people, not for what is repeated.
        """
        return dict(sorted(self._asking.read(lambda: self._storage.names(search=search)).items()))

    def states(self, queues: Sequence[str]) -> list[QueueState]:
        """The numbers of `queues`, in this order. At most three round trips for each of them."""
        if not queues:
            return []
        return self._asking.read(lambda: self._storage.states(queues, self._clock()))

    def peek(
        self,
        queue: str,
        state: State = "ready",
        *,
        limit: int = 20,
        selection: Selection = ALL,
        disturb: bool = False,
    ) -> list[StoredMessage]:
        """At most `limit` messages of one state, oldest first where the broker keeps an order.

        Where a look changes something it is refused, unless `disturb` says that this is wanted.
        """
        most = limit if selection.is_all else None
        if self._is_disturbed(queue, state, disturb=disturb):
            most = min(limit, MAX_DISTURBED)

        def look() -> list[StoredMessage]:
            with self._scan(queue, state, most) as messages:
                return list(islice(self._selected(messages, selection), limit))

        return self._asking.read(look)

    def find(
        self, prefix: str, *, queues: Sequence[str], limit: int = 20, disturb: bool = False
    ) -> Found:
        """At most `limit` messages whose id begins with `prefix`, in every state of `queues`.

        What workers hold is looked at last: a message that moves meanwhile moves there.
        """
        found: dict[tuple[str, str, int], StoredMessage] = {}
        unseen: dict[str, str] = {}
        for state in sorted(STATES, key="unacked".__eq__):
            for queue in queues:
                try:
                    messages = self._matching(queue, state, prefix, limit, disturb=disturb)
                except RefusedError as error:
                    unseen[f"{queue}, {state}"] = str(error)
                    continue
                found |= {(each.id, each.queue, each.attempt): each for each in messages}
        return Found(messages=tuple(found.values())[:limit], unseen=unseen)

    def plan_purge(self, queue: str, state: State = "ready", selection: Selection = ALL) -> Plan:
        """What `purge` would do; changes nothing. RefusedError where it would be refused."""
        plan = self._asking.read(lambda: self._storage.plan_purge(queue, state))
        if selection.is_all:
            return plan
        self._no_hindrance(queue, state)

        def count() -> int:
            with self._scan(queue, state, None, newest_first=True) as messages:
                return sum(1 for _ in self._selected(messages, selection))

        return Plan(queue=queue, state=state, matched=self._asking.read(count), stays=plan.stays)

    def purge(
        self,
        queue: str,
        state: State = "ready",
        selection: Selection = ALL,
        *,
        moved: Moved = requeueing.nothing,
    ) -> Change:
        """Take the messages of one state away. On Redis `undo` brings them back for an hour.

        `moved` is called after each one that was chosen by `selection`.
        """
        receipt = f"{self._clock():.6f}"
        if selection.is_all:
            self._asking.read(lambda: self._storage.plan_purge(queue, state))
            return self._asking.once(lambda: self._storage.purge(queue, state, receipt))
        plan = self.plan_purge(queue, state, selection)

        def remove() -> int:
            with self._scan(queue, state, None, newest_first=True) as messages:
                chosen = self._selected(messages, selection)
                return requeueing.take_away(self._storage, chosen, receipt, moved)

        done = self._asking.once(remove)
        return Change(queue=queue, state=state, matched=plan.matched, done=done)

    def undo(self, queue: str) -> Change:
        """Bring back what the last purge of `queue` took away, to be the next ones out."""
        return self._asking.once(lambda: self._storage.undo(queue))

    def plan_requeue(self, queue: str, selection: Selection = ALL) -> Plan:
        """How many dead letters `requeue` would put back at most; changes nothing."""
        most = self._asking.read(lambda: self._storage.most_dead(queue))
        if selection.is_all:
            return Plan(queue=queue, state="dead", matched=most)
        if self._storage.hindrance(queue, "dead"):
            unseen = "which of them are meant shows when they are taken; the others stay"
            return Plan(queue=queue, state="dead", matched=most, stays=unseen)
        matched = self.peek(queue, "dead", limit=most, selection=selection)
        return Plan(queue=queue, state="dead", matched=len(matched))

    def requeue(
        self,
        queue: str,
        selection: Selection = ALL,
        *,
        cause: SpanContext | None = None,
        moved: Moved = requeueing.nothing,
    ) -> Change:
        """Give dead letters to the workers again, oldest first, with all their attempts.

        At most as many as there are now: what dies again stays dead. The next delivery of each
        links to `cause`. `moved` is called after each one, and may wait.
        """
        most = self._asking.read(lambda: self._storage.most_dead(queue))

        def put_back() -> Change:
            taken = self._storage.take_dead(queue, most, chosen=not selection.is_all)
            with _closing(taken):
                chosen = self._selected(taken, selection)
                return requeueing.put_back(
                    self._storage, queue, chosen, clock=self._clock, cause=cause, moved=moved
                )

        return self._asking.once(put_back)

    def leases(self, owner: str, lifetime: float, timeout: float) -> Leases:
        """Leases of `lifetime` seconds, on the broker itself, for the reporter `owner`."""
        return AskedLeases(self._asking, self._storage.leases(owner, lifetime, timeout))

    def close(self) -> None:
        """Drop the connection; the next call opens another. Never raises."""
        self._storage.close()

    def _matching(
        self, queue: str, state: State, prefix: str, limit: int, *, disturb: bool
    ) -> list[StoredMessage]:
        most = MAX_DISTURBED if self._is_disturbed(queue, state, disturb=disturb) else None
        wanted, written = Selection(id=prefix), json.dumps(prefix)[1:-1].encode()

        def look() -> list[StoredMessage]:
            with self._scan(queue, state, most, newest_first=True, containing=written) as messages:
                return list(islice(self._selected(messages, wanted), limit))

        return self._asking.read(look)

    def _is_disturbed(self, queue: str, state: State, *, disturb: bool) -> bool:
        hindrance = self._storage.hindrance(queue, state)
        if hindrance and not disturb:
            raise RefusedError(hindrance)
        return hindrance is not None

    def _no_hindrance(self, queue: str, state: State) -> None:
        hindrance = self._storage.hindrance(queue, state)
        if hindrance:
            raise RefusedError(f"choosing among the messages needs a look at them: {hindrance}")

    @contextmanager
    def _scan(
        self,
        queue: str,
        state: State,
        at_most: int | None,
        *,
        newest_first: bool = False,
        containing: bytes = b"",
    ) -> Iterator[Iterator[StoredMessage]]:
        messages = self._storage.scan(
            queue, state, at_most=at_most, newest_first=newest_first, containing=containing
        )
        with _closing(messages):
            yield messages

    def _selected(
        self, messages: Iterator[StoredMessage], selection: Selection
    ) -> Iterator[StoredMessage]:
        now = self._clock()
        return (message for message in messages if selection.matches(message, now))


@contextmanager
def _closing(messages: Iterator[StoredMessage]) -> Iterator[None]:
    """Close an iterator that holds something back from others, if it is of that kind."""
    try:
        yield
    finally:
        close = getattr(messages, "close", None)
        if close is not None:
            close()
