"""What Celery's workers hold on Redis: one hash for all queues, so it is taken apart by routing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.facts import State, StoredMessage
from otel_queue_plugins.brokers.formats import celery_messages
from otel_queue_plugins.brokers.formats.celery_messages import Attempts, Envelope, Times
from otel_queue_plugins.brokers.formats.values import mapping, parsed, text
from otel_queue_plugins.brokers.on_redis.celery_keys import Keys
from otel_queue_plugins.brokers.on_redis.client import text as decoded

if TYPE_CHECKING:
    from redis import Redis

MAX_ENTRIES: Final = 1000
MAX_BYTES: Final = 4_000_000

_PARTS: Final = 3  # message, exchange, routing key


@dataclass(slots=True)
class Bindings:
    """Which queues an exchange delivers to; each exchange is looked up once."""

    client: Redis
    keys: Keys
    _tables: dict[str, list[list[str]]] = field(default_factory=dict)

    def queues(self, exchange: str, routing_key: str) -> list[str]:
        """The queues of a message; more than one where it was delivered to several."""
        if not exchange:
            return [routing_key]
        if exchange not in self._tables:
            members: Any = self.client.smembers(self.keys.bindings(exchange))
            self._tables[exchange] = [decoded(each).split(self.keys.separator) for each in members]
        rows = self._tables[exchange]
        found = [row[-1] for row in rows if _leads(row, routing_key)]
        return sorted(set(found)) or [routing_key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a worker holds. `since` is when it got it, by its own clock; None if unknown."""

    envelope: Envelope
    times: Times
    queues: Sequence[str]
    since: float | None

    def is_early(self, now: float) -> bool:
        """Whether it is held for its time, which has not come."""
        return self.times.eta is not None and self.times.eta > now


def held(entry: bytes, since: float | None, bindings: Bindings) -> Held | None:
    """What a worker holds; None if the entry is none of kombu's."""
    found = parsed(entry)
    if not isinstance(found, list) or len(found) != _PARTS:
        return None
    envelope = celery_messages.of_document(mapping(found[0]))
    exchange, routing_key = text(found[1]) or "", text(found[2]) or ""
    return Held(
        envelope=envelope,
        times=celery_messages.times(envelope),
        queues=bindings.queues(exchange, routing_key),
        since=since,
    )


def few(client: Redis, since: Mapping[bytes, float], bindings: Bindings) -> list[Held] | None:
    """All that workers hold, by the tags in `since`; None if that is too much to be looked at."""
    if not since:  # the last one was acked after the hash was counted
        return []
    pipe: Any = client.pipeline(transaction=False)
    for tag in since:
        pipe.hstrlen(bindings.keys.unacked, tag)
    if sum(pipe.execute()) > MAX_BYTES:
        return None
    entries: Any = client.hmget(bindings.keys.unacked, list(since))
    pairs = zip(since.values(), entries, strict=True)
    found = [held(entry, at, bindings) for at, entry in pairs if entry is not None]
    return [each for each in found if each is not None]


def messages(
    client: Redis,
    bindings: Bindings,
    queue: str,
    state: State,
    *,
    containing: bytes,
    attempts: Attempts,
    now: float,
) -> Iterator[StoredMessage]:
    """What workers hold of `queue`, for its time (`delayed`) or not; in no order.

    Entries without the bytes `containing` are passed over, unread.
    """
    seen: set[bytes] = set()
    steps: Any = client.hscan_iter(bindings.keys.unacked, count=500)
    for tag, entry in steps:
        if tag in seen or containing not in entry:
            continue
        seen.add(tag)
        found = held(entry, None, bindings)
        if found and queue in found.queues and found.is_early(now) == (state == "delayed"):
            yield celery_messages.message(
                found.envelope,
                queue=queue,
                state=state,
                raw=entry,
                place=tag,
                max_attempts=attempts,
            )


def _leads(row: Sequence[str], routing_key: str) -> bool:
    """Whether a binding (routing key, pattern, queue) takes a message with this routing key."""
    bound, pattern = row[0], row[1] if len(row) == _PARTS else ""
    if bound == routing_key:
        return True
    try:
        return bool(pattern) and re.match(pattern, routing_key) is not None
    except re.error:
        return False
