"""Dramatiq's messages on Redis, by state: first the ids, then the bodies as they are asked for.

So the list may move: what is gone by then is left out, and nothing that stays is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.facts import State, StoredMessage
from otel_queue_plugins.brokers.formats import dramatiq_messages
from otel_queue_plugins.brokers.formats.dramatiq_messages import Attempts
from otel_queue_plugins.brokers.on_redis.client import text
from otel_queue_plugins.brokers.on_redis.dramatiq_keys import Keys

if TYPE_CHECKING:
    from redis import Redis

IDS: Final = 1000
BODIES: Final = 100
SORTED: Final = 10_000

Id = bytes
DiedAt = float | None


class Scan:
    """The messages of one queue. Those without the bytes `containing` are passed over, unread."""

    def __init__(
        self, client: Redis, keys: Keys, queue: str, containing: bytes, attempts: Attempts
    ) -> None:
        self._client = client
        self._keys = keys
        self._family = keys.family(queue)
        self._queue = queue
        self._containing = containing
        self._attempts = attempts

    def messages(self, state: State, at_most: int | None) -> Iterator[StoredMessage]:
        """Ready and dead ones oldest first, delayed ones next due first, unacked in no order."""
        family = self._family
        if state == "ready":
            ids = self._listed(family.ids, at_most)
            return self._fetched(state, family.bodies, [(each, None) for each in ids])
        if state == "dead":
            return self._fetched(state, family.dead_bodies, self._died(at_most))
        if state == "unacked":
            held = self._held()
            return self._fetched(state, family.bodies, [(each, None) for each in held])
        return self._delayed()

    def _listed(self, key: str, at_most: int | None) -> list[Id]:
        found: list[Id] = []
        while at_most is None or len(found) < at_most:
            part: Any = self._client.lrange(key, len(found), len(found) + IDS - 1)
            found.extend(part)
            if len(part) < IDS:
                break
        return found[:at_most]

    def _died(self, at_most: int | None) -> list[tuple[Id, DiedAt]]:
        found: list[tuple[Id, DiedAt]] = []
        while at_most is None or len(found) < at_most:
            start = len(found)
            part: Any = self._client.zrange(
                self._family.dead_ids, start, start + IDS - 1, withscores=True
            )
            found.extend((each, score / 1000) for each, score in part)
            if len(part) < IDS:
                break
        return found[:at_most]

    def _held(self) -> list[Id]:
        """The ids that somebody has fetched and not acked, whether he lives or not."""
        workers: Any = self._client.zrange(self._keys.heartbeats, 0, -1)
        pipe: Any = self._client.pipeline(transaction=False)
        for worker in workers:
            pipe.smembers(self._keys.fetched(text(worker), self._queue)[0])
        return [each for members in (pipe.execute() if workers else ()) for each in sorted(members)]

    def _delayed(self) -> Iterator[StoredMessage]:
        """From the bodies: workers hold the ids. Sorted unless there are very many."""
        steps: Any = self._client.hscan_iter(self._family.delayed_bodies, count=BODIES)
        found: dict[Id, StoredMessage] = {}
        for identity, body in steps:
            if identity not in found and self._containing in body:
                found[identity] = self._message("delayed", identity, body, None)
                if len(found) > SORTED:
                    yield found[identity]
        waiting = list(found.values())[:SORTED]
        yield from sorted(waiting, key=lambda message: message.eta or 0.0)

    def _fetched(
        self, state: State, bodies: str, ids: Sequence[tuple[Id, DiedAt]]
    ) -> Iterator[StoredMessage]:
        for start in range(0, len(ids), BODIES):
            part = ids[start : start + BODIES]
            found: Any = self._client.hmget(bodies, [identity for identity, _ in part])
            for (identity, died_at), body in zip(part, found, strict=True):
                if body is not None and self._containing in body:
                    yield self._message(state, identity, body, died_at)

    def _message(self, state: State, identity: Id, body: bytes, died_at: DiedAt) -> StoredMessage:
        return dramatiq_messages.message(
            body,
            queue=self._queue,
            state=state,
            place=identity,
            died_at=died_at,
            max_attempts=self._attempts,
        )
