"""Dramatiq's queues on Redis."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Plan, QueueState, Source, State, StoredMessage
from otel_queue_plugins.brokers.formats import dramatiq_messages
from otel_queue_plugins.brokers.formats.dramatiq_messages import Attempts
from otel_queue_plugins.brokers.leases import Leases
from otel_queue_plugins.brokers.on_redis import dramatiq_states, searching
from otel_queue_plugins.brokers.on_redis.connection import Connection
from otel_queue_plugins.brokers.on_redis.dramatiq_changes import Changes
from otel_queue_plugins.brokers.on_redis.dramatiq_keys import Keys
from otel_queue_plugins.brokers.on_redis.dramatiq_scan import Scan
from otel_queue_plugins.brokers.on_redis.leases import RedisLeases

if TYPE_CHECKING:
    from redis import Redis

RUNNING: Final = "workers hold these, and taking the bodies away would lose what fails"
_BODIES: Final = ".msgs"


class DramatiqOnRedis:
    """See `storage.Storage`. `declared` names the queues that this process declares."""

    aged: tuple[State, ...] = ("ready",)

    def __init__(
        self,
        source: Source,
        connect: Callable[[], Redis],
        keys: Keys,
        *,
        declared: Callable[[], Mapping[str, str]],
        attempts: Attempts,
        clock: Callable[[], float],
    ) -> None:
        self.source = source
        self._connection = Connection(connect)
        self.errors = self._connection.errors
        self.timeouts = self._connection.timeouts
        self._keys = keys
        self._declared = declared
        self._attempts = attempts
        self._clock = clock

    @property
    def is_connected(self) -> bool:
        """See `storage.Storage`."""
        return self._connection.is_open

    def names(self, *, search: bool) -> Mapping[str, str]:
        """What is declared; searching, also every queue that has a message."""
        declared = dict(self._declared())
        if not search:
            return declared
        start = f"{self._keys.namespace}:"
        keys = searching.matching(self._connection.client, start, _BODIES)
        names = {key[len(start) : -len(_BODIES)] for key in keys}
        return {dramatiq_messages.canonical(name): "found" for name in names} | declared

    def states(self, queues: Sequence[str], now: float) -> list[QueueState]:
        """See `storage.Storage`."""
        return dramatiq_states.states(self._connection.client, self._keys, queues, now)

    def hindrance(self, queue: str, state: State) -> str | None:
        """Nothing: Redis shows its values without touching them."""
        return None

    def scan(
        self,
        queue: str,
        state: State,
        *,
        at_most: int | None,
        newest_first: bool,
        containing: bytes,
    ) -> Iterator[StoredMessage]:
        """See `storage.Storage`."""
        scan = Scan(self._connection.client, self._keys, queue, containing, self._attempts)
        return scan.messages(state, at_most)

    def most_dead(self, queue: str) -> int:
        """See `storage.Storage`."""
        return int(self._connection.client.zcard(self._keys.family(queue).dead_ids))

    def take_dead(
        self,
        queue: str,
        at_most: int,
        *,
        chosen: bool,
    ) -> Iterator[StoredMessage]:
        """See `storage.Storage`."""
        return self.scan(queue, "dead", at_most=at_most, newest_first=False, containing=b"")

    def remove(self, message: StoredMessage, receipt: str) -> bool:
        """See `storage.Storage`."""
        return self._changes(message.queue).set_one_aside(
            message.state, receipt, _identity(message)
        )

    def put_back(self, message: StoredMessage, now: float, cause: SpanContext | None) -> bool:
        """One script: the dead letter goes and the message is ready, or nothing happens."""
        renewed_identity = str(uuid.uuid4())
        body = dramatiq_messages.renewed(
            message.raw,
            queue=message.queue,
            now=now,
            cause=cause,
            redis_message_id=renewed_identity,
        )
        return self._changes(message.queue).put_back(_identity(message), renewed_identity, body)

    def plan_purge(self, queue: str, state: State) -> Plan:
        """Ready and dead ones go; of the delayed those that no worker has fetched."""
        if state == "unacked":
            raise RefusedError(RUNNING)
        (found,) = self.states([queue], self._clock())
        counts = {"ready": found.ready, "dead": found.dead, "delayed": found.delayed}
        matched, stays = counts[state] or 0, None
        if state == "delayed":
            delayed = self._connection.client.llen(self._keys.family(queue).delayed_ids)
            waiting = int(delayed)
            held, matched = matched - waiting, waiting
            stays = f"{held:,} that workers hold will run at their time" if held > 0 else None
        elif state == "ready" and found.unacked:
            stays = f"{found.unacked:,} that workers hold will run all the same"
        return Plan(queue=queue, state=state, matched=matched, stays=stays)

    def purge(self, queue: str, state: State, receipt: str) -> Change:
        """See `storage.Storage`. What is taken away is kept for an hour."""
        done = self._changes(queue).set_aside(state, receipt)
        return Change(queue=queue, state=state, matched=done, done=done)

    def undo(self, queue: str) -> Change:
        """See `storage.Storage`."""
        found = self._changes(queue).bring_back()
        if found is None:
            raise RefusedError(f"no purge of {queue} within the last hour is kept")
        state, done = found
        return Change(queue=queue, state=_STATES[state], matched=done, done=done)

    def leases(self, owner: str, lifetime: float, timeout: float) -> Leases:
        """See `storage.Storage`."""
        return RedisLeases(lambda: self._connection.client, self._keys.leases, owner, lifetime)

    def close(self) -> None:
        """See `storage.Storage`."""
        self._connection.drop()

    def _changes(self, queue: str) -> Changes:
        return Changes(self._connection.client, self._keys, queue)


_STATES: Final[Mapping[str, State]] = {"ready": "ready", "delayed": "delayed", "dead": "dead"}


def _identity(message: StoredMessage) -> bytes:
    """The key of the body of `message`, which is not its id: a retry gets another."""
    if not isinstance(message.place, bytes):
        raise RefusedError(f"{message.id} was not read from this queue")
    return message.place
