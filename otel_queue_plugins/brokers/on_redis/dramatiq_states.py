"""The numbers of Dramatiq's queues on Redis: at most two round trips for all of them together.

Plain reads with a client of our own: each command of Dramatiq's broker writes a heartbeat, which
makes a worker of whoever looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.answers import NO_TIME_OF_DRAMATIQ, Age, Count, Unknown, queue_state
from otel_queue_plugins.brokers.facts import QueueState
from otel_queue_plugins.brokers.formats import dramatiq_messages
from otel_queue_plugins.brokers.on_redis.client import text
from otel_queue_plugins.brokers.on_redis.dramatiq_keys import Keys

if TYPE_CHECKING:
    from redis import Redis

NO_CONSUMERS: Final = Unknown("Redis does not know who consumes; each worker reports itself")
NO_FETCH_TIME: Final = Unknown("Dramatiq does not note when a message was fetched")
JUST_TAKEN: Final = Unknown("the oldest message was taken while it was looked at")
MAX_GONE: Final = 1000
MAX_SETS: Final = 4000

_HEADS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one moment shows of a queue. `heads` are the ids of its oldest messages."""

    ready: int
    bodies: int
    delayed: int
    dead: int
    heads: Sequence[bytes]


def states(client: Redis, keys: Keys, queues: Sequence[str], now: float) -> list[QueueState]:
    """The numbers of `queues`. Redis sees one moment for all of them, but for ages and holders."""
    pipe: Any = client.pipeline(transaction=True)
    for family in map(keys.family, queues):
        pipe.llen(family.ids)
        pipe.hlen(family.bodies)
        pipe.hlen(family.delayed_bodies)
        pipe.zcard(family.dead_ids)
        pipe.lrange(family.ids, 0, _HEADS - 1)
    before = (now - keys.heartbeat_timeout) * 1000
    pipe.zrangebyscore(keys.heartbeats, "-inf", before, start=0, num=MAX_GONE + 1)
    *found, gone = pipe.execute()
    counts = [
        Counts(ready=a, bodies=b, delayed=c, dead=d, heads=e)
        for a, b, c, d, e in zip(*(found[at::5] for at in range(5)), strict=True)
    ]
    second = _HeadsAndHolders(client, keys, queues, counts, [text(worker) for worker in gone])
    return [
        _state(queue, count, second.age(queue, now), second.abandoned(queue))
        for queue, count in zip(queues, counts, strict=True)
    ]


class _HeadsAndHolders:
    """The round trip for what only the first one tells the keys of."""

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        queues: Sequence[str],
        counts: Sequence[Counts],
        gone: Sequence[str],
    ) -> None:
        self._gone = gone
        self._is_too_much = len(gone) > MAX_GONE or 2 * len(gone) * len(queues) > MAX_SETS
        self._heads = {queue: each.heads for queue, each in zip(queues, counts, strict=True)}
        pipe: Any = client.pipeline(transaction=False)
        asked: list[tuple[str, str]] = []
        for queue in queues:
            if self._heads[queue]:
                pipe.hmget(keys.family(queue).bodies, self._heads[queue])
                asked.append(("bodies", queue))
            for key in self._sets(keys, queue):
                pipe.scard(key)
                asked.append(("held", queue))
        self._answers = list(zip(asked, pipe.execute() if asked else (), strict=True))

    def _sets(self, keys: Keys, queue: str) -> list[str]:
        if self._is_too_much:
            return []
        return [key for worker in self._gone for key in keys.fetched(worker, queue)]

    def abandoned(self, queue: str) -> Count:
        """What the gone hold of `queue`."""
        if self._is_too_much:
            return Unknown("too many brokers are gone without a word")
        return sum(int(answer) for asked, answer in self._answers if asked == ("held", queue))

    def age(self, queue: str, now: float) -> Age:
        """The age of the oldest ready message; 0 if there is none."""
        if not self._heads[queue]:
            return 0.0
        bodies = next(answer for asked, answer in self._answers if asked == ("bodies", queue))
        raw = next((body for body in bodies if body is not None), None)
        if raw is None:
            return JUST_TAKEN
        age = dramatiq_messages.message(raw, queue=queue, state="ready").age(now)
        return NO_TIME_OF_DRAMATIQ if age is None else age


def _state(queue: str, counts: Counts, age: Age, abandoned: Count) -> QueueState:
    unacked = max(0, counts.bodies - counts.ready)
    return queue_state(
        queue,
        "redis",
        ready=counts.ready,
        delayed=counts.delayed,
        unacked=unacked,
        dead=counts.dead,
        oldest_age_s=age,
        oldest_unacked_age_s=NO_FETCH_TIME if unacked else 0.0,
        abandoned=abandoned,
        consumers=NO_CONSUMERS,
    )
