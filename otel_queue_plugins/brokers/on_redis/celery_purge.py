"""Taking messages out of Celery's lists on Redis, and bringing them back for an hour.

Each step is one script, so that a message is always in one list or the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.on_redis.celery_keys import ASIDE_SECONDS, Keys

if TYPE_CHECKING:
    from redis import Redis

_SET_ASIDE: Final = """
local total, count = 0, (#KEYS - 1) / 2
for i = 1, count do
  local length = redis.call('LLEN', KEYS[i + 1])
  if length > 0 then
    redis.call('RENAME', KEYS[i + 1], KEYS[i + 1 + count])
    redis.call('EXPIRE', KEYS[i + 1 + count], ARGV[2])
    total = total + length
  end
end
if total > 0 then
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return total
"""

_SET_ONE_ASIDE: Final = """
if redis.call('LREM', KEYS[2], 1, ARGV[3]) == 0 then return 0 end
redis.call('RPUSH', KEYS[3], ARGV[3])
redis.call('EXPIRE', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

_BRING_BACK: Final = """
local moved = 0
while moved < 1000 do
  local message = redis.call('LPOP', KEYS[1])
  if not message then break end
  redis.call('RPUSH', KEYS[2], message)
  moved = moved + 1
end
return moved
"""


def set_aside(client: Redis, keys: Keys, queue: str, receipt: str) -> int:
    """Take all ready messages out of `queue`; how many they were."""
    lists = keys.lists(queue)
    aside = [keys.aside(queue, receipt, step) for step in range(len(lists))]
    return _run(client, _SET_ASIDE, [keys.receipts(queue), *lists, *aside], receipt, ASIDE_SECONDS)


def set_one_aside(
    client: Redis, keys: Keys, queue: str, receipt: str, place: str, raw: bytes
) -> bool:
    """Take one message out of the list `place`; False if it was gone."""
    aside = keys.aside(queue, receipt, keys.lists(queue).index(place))
    touched = [keys.receipts(queue), place, aside]
    return bool(_run(client, _SET_ONE_ASIDE, touched, receipt, ASIDE_SECONDS, raw))


def bring_back(client: Redis, keys: Keys, queue: str) -> int | None:
    """Put what the last purge took away back, to be the next ones out; None if there was none."""
    while newest := _newest(client, keys.receipts(queue)):
        receipt, moved = newest.decode(), 0
        for step, place in enumerate(keys.lists(queue)):
            while part := _run(client, _BRING_BACK, [keys.aside(queue, receipt, step), place]):
                moved += part
        client.zrem(keys.receipts(queue), newest)
        if moved:  # else what it took away has expired
            return moved
    return None


def _newest(client: Redis, receipts: str) -> bytes | None:
    found: Any = client.zrange(receipts, -1, -1)
    return found[0] if found else None


def _run(client: Redis, script: str, keys: list[str], *values: object) -> int:
    evaluate: Any = client.eval
    return int(evaluate(script, len(keys), *keys, *values))
