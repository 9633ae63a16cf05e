"""Celery's queues on Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import (
    Change,
    Plan,
    QueueState,
    Source,
    State,
    StoredMessage,
)
from otel_queue_plugins.brokers.formats.celery_messages import Attempts
from otel_queue_plugins.brokers.leases import Leases
from otel_queue_plugins.brokers.names import is_task_queue
from otel_queue_plugins.brokers.on_redis import (
    celery_purge,
    celery_states,
    celery_unacked,
    searching,
)
from otel_queue_plugins.brokers.on_redis.celery_keys import Keys
from otel_queue_plugins.brokers.on_redis.celery_lists import Lists
from otel_queue_plugins.brokers.on_redis.celery_unacked import Bindings
from otel_queue_plugins.brokers.on_redis.connection import Connection
from otel_queue_plugins.brokers.on_redis.leases import RedisLeases

if TYPE_CHECKING:
    from redis import Redis

BINDINGS_SECONDS: Final = 300
HELD: Final = "workers hold these; `celery control revoke` is what stops one"


class CeleryOnRedis:
    """See `storage.Storage`. `configured` names the queues that the app declares."""

    aged: tuple[State, ...] = ("ready", "unacked")

    def __init__(
        self,
        source: Source,
        connect: Callable[[], Redis],
        keys: Keys,
        *,
        configured: Callable[[], Mapping[str, str]],
        attempts: Attempts,
        clock: Callable[[], float],
    ) -> None:
        self.source = source
        self._connection = Connection(connect)
        self.errors = self._connection.errors
        self.timeouts = self._connection.timeouts
        self._keys = keys
        self._configured = configured
        self._attempts = attempts
        self._clock = clock
        self._bindings: Bindings | None = None
        self._bindings_read_at = 0.0
        self._removed = 0

    @property
    def is_connected(self) -> bool:
        """See `storage.Storage`."""
        return self._connection.is_open

    def names(self, *, search: bool) -> Mapping[str, str]:
        """What the app declares; searching, also what was ever bound in this database."""
        configured = dict(self._configured())
        found = searching.bound_queues(self._connection.client, self._keys) if search else set()
        return {name: "bound" for name in found if is_task_queue(name)} | configured

    def states(self, queues: Sequence[str], now: float) -> list[QueueState]:
        """See `storage.Storage`."""
        return celery_states.states(self._connection.client, self._bound(), queues, now)

    def hindrance(self, queue: str, state: State) -> str | None:
        """Nothing: Redis shows a list without touching it."""
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
        """Ready messages in the order of their lists, what workers hold in none."""
        if state == "dead":
            raise RefusedError(celery_states.NO_DEAD.reason)
        if state != "ready":
            held = celery_unacked.messages(
                self._connection.client,
                self._bound(),
                queue,
                state,
                containing=containing,
                attempts=self._attempts,
                now=self._clock(),
            )
            return islice(held, at_most)
        lists = Lists(
            self._connection.client, self._keys.lists(queue), queue, containing, self._attempts
        )
        found = lists.newest_first(lambda: self._removed) if newest_first else lists.oldest_first()
        return islice(found, at_most)

    def most_dead(self, queue: str) -> int:
        """Refused: there are none."""
        raise RefusedError(celery_states.NO_DEAD.reason)

    def take_dead(self, queue: str, at_most: int, *, chosen: bool) -> Iterator[StoredMessage]:
        """Refused: there are none."""
        raise RefusedError(celery_states.NO_DEAD.reason)

    def remove(self, message: StoredMessage, receipt: str) -> bool:
        """See `storage.Storage`."""
        done = celery_purge.set_one_aside(
            self._connection.client,
            self._keys,
            message.queue,
            receipt,
            str(message.place),
            message.raw,
        )
        self._removed += done
        return done

    def put_back(self, message: StoredMessage, now: float, cause: SpanContext | None) -> bool:
        """Refused: there are no dead letters."""
        raise RefusedError(celery_states.NO_DEAD.reason)

    def plan_purge(self, queue: str, state: State) -> Plan:
        """Only what is ready can be taken away."""
        if state == "dead":
            raise RefusedError(celery_states.NO_DEAD.reason)
        if state != "ready":
            raise RefusedError(HELD)
        (found,) = self.states([queue], self._clock())
        held = (found.unacked or 0) + (found.delayed or 0)
        stays = f"{held:,} that workers hold will run all the same" if held else None
        if "unacked" in found.unknown:
            stays = "what workers hold will run all the same"
        return Plan(queue=queue, state=state, matched=found.ready or 0, stays=stays)

    def purge(self, queue: str, state: State, receipt: str) -> Change:
        """See `storage.Storage`. What is taken away is kept for an hour."""
        done = celery_purge.set_aside(self._connection.client, self._keys, queue, receipt)
        return Change(queue=queue, state=state, matched=done, done=done)

    def undo(self, queue: str) -> Change:
        """See `storage.Storage`."""
        done = celery_purge.bring_back(self._connection.client, self._keys, queue)
        if done is None:
            raise RefusedError(f"no purge of {queue} within the last hour is kept")
        return Change(queue=queue, state="ready", matched=done, done=done)

    def leases(self, owner: str, lifetime: float, timeout: float) -> Leases:
        """See `storage.Storage`."""
        return RedisLeases(lambda: self._connection.client, self._keys.leases, owner, lifetime)

    def close(self) -> None:
        """See `storage.Storage`."""
        self._bindings = None
        self._connection.drop()

    def _bound(self) -> Bindings:
        """The bindings of exchanges, each looked up once in five minutes."""
        now = self._clock()
        if self._bindings is None or now - self._bindings_read_at > BINDINGS_SECONDS:
            self._bindings = Bindings(self._connection.client, self._keys)
            self._bindings_read_at = now
        return self._bindings
