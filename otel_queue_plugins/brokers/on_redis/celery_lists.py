"""Celery's ready messages on Redis: lists that others push to at one end and pop from at the other.

Whoever reads one from the newest message on sees some twice, and misses none that stays; from the
oldest on it is the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.facts import StoredMessage
from otel_queue_plugins.brokers.formats import celery_messages
from otel_queue_plugins.brokers.formats.celery_messages import Attempts

if TYPE_CHECKING:
    from redis import Redis

PART: Final = 100


class Lists:
    """The lists of one queue, one for each priority.

    Messages without the bytes `containing` are passed over, unread.
    """

    def __init__(
        self, client: Redis, keys: list[str], queue: str, containing: bytes, attempts: Attempts
    ) -> None:
        self._client = client
        self._keys = keys
        self._queue = queue
        self._containing = containing
        self._attempts = attempts

    def oldest_first(self) -> Iterator[StoredMessage]:
        """All messages by their time, as far as they say it; each list in its own order."""
        return merge(*map(self._from_the_end, self._keys), key=_time)

    def newest_first(self, removed: Callable[[], int]) -> Iterator[StoredMessage]:
        """All messages, list by list. `removed` counts what the caller has taken out so far."""
        for key in self._keys:
            yield from self._from_the_start(key, removed)

    def _from_the_end(self, key: str) -> Iterator[StoredMessage]:
        end = -1
        while part := self._read(key, end - PART + 1, end):
            yield from self._messages(key, reversed(part))
            end -= len(part)

    def _from_the_start(self, key: str, removed: Callable[[], int]) -> Iterator[StoredMessage]:
        start, seen, before = 0, set[str](), removed()
        while part := self._read(key, start, start + PART - 1):
            for message in self._messages(key, part):
                if message.id not in seen:
                    seen.add(message.id)
                    yield message
            gone, before = removed() - before, removed()
            start += len(part) - gone

    def _read(self, key: str, start: int, end: int) -> list[bytes]:
        found: Any = self._client.lrange(key, start, end)
        return list(found)

    def _messages(self, key: str, part: Any) -> Iterator[StoredMessage]:
        for raw in part:
            envelope = celery_messages.of_json(raw) if self._containing in raw else None
            if envelope is not None:
                yield celery_messages.message(
                    envelope,
                    queue=self._queue,
                    state="ready",
                    raw=raw,
                    place=key,
                    max_attempts=self._attempts,
                )


def _time(message: StoredMessage) -> float:
    return message.could_run_at or 0.0
