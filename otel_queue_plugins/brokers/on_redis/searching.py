"""Names of queues that no app in reach declares: a walk over all keys, with a bound.

For people who ask once. Nothing that is repeated may do this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.on_redis.celery_keys import Keys
from otel_queue_plugins.brokers.on_redis.client import text

if TYPE_CHECKING:
    from redis import Redis

_STEP: Final = 1000
_MAX_STEPS: Final = 2000
_SPECIAL: Final = str.maketrans({letter: f"\\{letter}" for letter in "*?[]^\\"})


def bound_queues(client: Redis, keys: Keys) -> set[str]:
    """Every queue that was ever bound in this database, those of other apps too."""
    found = set[str]()
    for key in matching(client, keys.bindings(""), ""):
        members: Any = client.smembers(key)
        found |= {text(member).split(keys.separator)[-1] for member in members}
    return found


def matching(client: Redis, prefix: str, suffix: str) -> Iterator[str]:
    """The keys with this beginning and end, among the first two million keys."""
    cursor, pattern = 0, f"{prefix.translate(_SPECIAL)}*{suffix.translate(_SPECIAL)}"
    for _ in range(_MAX_STEPS):
        answer: Any = client.scan(cursor, match=pattern, count=_STEP)
        cursor, keys = answer
        yield from map(text, keys)
        if not cursor:
            return
