"""The numbers of Celery's queues on Redis: at most three round trips for all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.answers import NO_TIME_OF_CELERY, Age, Count, Unknown, queue_state
from otel_queue_plugins.brokers.facts import QueueState
from otel_queue_plugins.brokers.formats import celery_messages
from otel_queue_plugins.brokers.formats.celery_messages import Times
from otel_queue_plugins.brokers.on_redis import celery_unacked
from otel_queue_plugins.brokers.on_redis.celery_unacked import MAX_ENTRIES, Bindings, Held

if TYPE_CHECKING:
    from redis import Redis

NO_DEAD: Final = Unknown("Celery keeps no dead letters on Redis: what it rejects is removed")
NO_CONSUMERS: Final = Unknown("Redis does not know who consumes; each worker reports itself")
SHARED: Final = Unknown("messages are held that an exchange delivered to several queues")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unacked:
    """What is held of all queues: how many, and each of them, or why not."""

    total: int
    abandoned: int
    held: Sequence[Held] | Unknown


def states(
    client: Redis, bindings: Bindings, queues: Sequence[str], now: float
) -> list[QueueState]:
    """The numbers of `queues`. Redis sees one moment for all of them, but for what is held."""
    keys = bindings.keys
    pipe: Any = client.pipeline(transaction=True)
    for queue in queues:
        for key in keys.lists(queue):
            pipe.llen(key)
            pipe.lindex(key, -1)
    pipe.hlen(keys.unacked)
    pipe.zcount(keys.unacked_index, "-inf", now - keys.visibility_timeout / 2)
    pipe.zrange(keys.unacked_index, 0, MAX_ENTRIES, withscores=True)
    *ready, total, abandoned, index = pipe.execute()
    unacked = Unacked(
        total=total, abandoned=abandoned, held=_held(client, bindings, total, dict(index))
    )
    per_queue = 2 * len(keys.priority_steps)
    return [
        _state(queue, ready[start * per_queue : (start + 1) * per_queue], unacked, bindings, now)
        for start, queue in enumerate(queues)
    ]


def _held(
    client: Redis, bindings: Bindings, total: int, index: dict[bytes, float]
) -> Sequence[Held] | Unknown:
    if not total:
        return ()
    found = None
    if total <= MAX_ENTRIES:
        found = celery_unacked.few(client, index, bindings)
    if found is None:
        return Unknown(
            f"{total:,} messages of all queues are held in one hash of this database; "
            f"more than {MAX_ENTRIES:,}, or {celery_unacked.MAX_BYTES:,} bytes, are not searched"
        )
    return found


def _state(
    queue: str, ready: Sequence[Any], unacked: Unacked, bindings: Bindings, now: float
) -> QueueState:
    lengths, heads = ready[::2], ready[1::2]
    mine = _of_queue(unacked.held, queue)
    early = mine if isinstance(mine, Unknown) else [each for each in mine if each.is_early(now)]
    late = mine if isinstance(mine, Unknown) else [each for each in mine if not each.is_early(now)]
    return queue_state(
        queue,
        "redis",
        ready=sum(lengths),
        delayed=_count(early),
        unacked=_count(late),
        dead=NO_DEAD,
        oldest_age_s=_oldest([_times(head) for head in heads if head is not None], now),
        oldest_unacked_age_s=late
        if isinstance(late, Unknown)
        else _oldest([each.times for each in late], now),
        abandoned=_abandoned(mine, unacked, now - bindings.keys.visibility_timeout / 2),
        consumers=NO_CONSUMERS,
    )


def _of_queue(held: Sequence[Held] | Unknown, queue: str) -> list[Held] | Unknown:
    if isinstance(held, Unknown):
        return held
    mine = [each for each in held if queue in each.queues]
    return SHARED if any(len(each.queues) > 1 for each in mine) else mine


def _abandoned(mine: list[Held] | Unknown, unacked: Unacked, before: float) -> Count:
    if not unacked.abandoned:
        return 0
    if isinstance(mine, Unknown):
        return mine
    return sum(each.since is not None and each.since <= before for each in mine)


def _count(held: list[Held] | Unknown) -> Count:
    return held if isinstance(held, Unknown) else len(held)


def _times(raw: bytes) -> Times:
    envelope = celery_messages.of_json(raw)
    return Times(None, None) if envelope is None else celery_messages.times(envelope)


def _oldest(messages: Sequence[Times], now: float) -> Age:
    """The age of the oldest; 0 if there is none, unknown if one of them does not say."""
    since = [each.could_run_at for each in messages]
    said = [when for when in since if when is not None]
    if len(said) < len(since):
        return NO_TIME_OF_CELERY
    return max(0.0, now - min(said)) if said else 0.0
