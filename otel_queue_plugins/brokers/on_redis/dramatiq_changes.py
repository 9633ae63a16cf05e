"""Moving Dramatiq's messages on Redis. Each step is one script: a message is never in no place.

`flush` of Dramatiq's broker is not used: it takes dead letters along, and the bodies of messages
that are running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.on_redis.dramatiq_keys import ASIDE_SECONDS, Keys

if TYPE_CHECKING:
    from redis import Redis

_PART: Final = 1000

# KEYS: ids, bodies, ids aside, bodies aside, receipts. ARGV: receipt, seconds, number or one id.
_KEEP: Final = """
for _, key in ipairs({KEYS[3], KEYS[4], KEYS[5]}) do redis.call('EXPIRE', key, ARGV[2]) end
"""
_NOTE: Final = "redis.call('ZADD', KEYS[5], ARGV[1], ARGV[1])\n"
_BODY: Final = """
local function body_aside(id)
  local body = redis.call('HGET', KEYS[2], id)
  if body then
    redis.call('HSET', KEYS[4], id, body)
    redis.call('HDEL', KEYS[2], id)
  end
end
"""
_LIST_ASIDE: Final = f"""{_BODY}
local ids = redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)
if #ids == 0 then return 0 end
for _, id in ipairs(ids) do
  body_aside(id)
  redis.call('RPUSH', KEYS[3], id)
end
redis.call('LTRIM', KEYS[1], #ids, -1)
{_NOTE}{_KEEP}
return #ids
"""
_DEAD_ASIDE: Final = f"""{_BODY}
local ids = redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1, 'WITHSCORES')
if #ids == 0 then return 0 end
for i = 1, #ids, 2 do
  body_aside(ids[i])
  redis.call('ZADD', KEYS[3], ids[i + 1], ids[i])
  redis.call('ZREM', KEYS[1], ids[i])
end
{_NOTE}{_KEEP}
return #ids / 2
"""
_ONE_ASIDE: Final = f"""{_BODY}
local score = nil
if redis.call('TYPE', KEYS[1]).ok == 'zset' then
  score = redis.call('ZSCORE', KEYS[1], ARGV[3])
  if not score then return 0 end
  redis.call('ZREM', KEYS[1], ARGV[3])
  redis.call('ZADD', KEYS[3], score, ARGV[3])
else
  if redis.call('LREM', KEYS[1], 1, ARGV[3]) == 0 then return 0 end
  redis.call('RPUSH', KEYS[3], ARGV[3])
end
body_aside(ARGV[3])
{_NOTE}{_KEEP}
return 1
"""
# KEYS: ids aside, bodies aside, ids, bodies. Of a list the newest go first, each to the front.
_BRING_BACK: Final = """
local is_list = redis.call('TYPE', KEYS[1]).ok == 'list'
local moved = 0
while moved < 1000 do
  local id, score = nil, nil
  if is_list then
    id = redis.call('RPOP', KEYS[1])
  else
    local first = redis.call('ZPOPMIN', KEYS[1])
    id, score = first[1], first[2]
  end
  if not id then break end
  local body = redis.call('HGET', KEYS[2], id)
  if body then
    redis.call('HSET', KEYS[4], id, body)
    redis.call('HDEL', KEYS[2], id)
    if is_list then redis.call('LPUSH', KEYS[3], id) else redis.call('ZADD', KEYS[3], score, id) end
  end
  moved = moved + 1
end
return moved
"""
_REQUEUE: Final = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
redis.call('RPUSH', KEYS[3], ARGV[2])
return 1
"""
DELAYED, READY, DEAD = "delayed", "ready", "dead"


class Changes:
    """What can be changed in one queue."""

    def __init__(self, client: Redis, keys: Keys, queue: str) -> None:
        self._client = client
        self._keys = keys
        self._queue = queue
        family = keys.family(queue)
        self._places = {
            READY: [family.ids, family.bodies],
            DELAYED: [family.delayed_ids, family.delayed_bodies],
            DEAD: [family.dead_ids, family.dead_bodies],
        }

    def set_aside(self, state: str, receipt: str) -> int:
        """Take away what there is now of one state, not what comes meanwhile; how many."""
        script = _DEAD_ASIDE if state == DEAD else _LIST_ASIDE
        ids = self._places[state][0]
        count: Any = self._client.zcard(ids) if state == DEAD else self._client.llen(ids)
        done = 0
        while done < count:
            part = self._aside(script, state, receipt, min(_PART, count - done))
            if not part:
                break
            done += part
        return done

    def set_one_aside(self, state: str, receipt: str, identity: bytes) -> bool:
        """Take one message away; False if it was gone."""
        return bool(self._aside(_ONE_ASIDE, state, receipt, identity))

    def bring_back(self) -> tuple[str, int] | None:
        """Put back what the last purge took: its state and how many; None if nothing is kept."""
        while newest := self._newest():
            for state, places in self._places.items():
                if moved := self._bring_back(f"{newest.decode()}:{state}", places):
                    self._client.zrem(self._keys.receipts(self._queue), newest)
                    return state, moved
            self._client.zrem(self._keys.receipts(self._queue), newest)  # it has expired
        return None

    def put_back(self, identity: bytes, renewed_identity: str, body: bytes) -> bool:
        """Make a dead letter ready again, as `body`; False if it was gone."""
        keys = [*self._places[DEAD], *self._places[READY]]
        return bool(self._run(_REQUEUE, keys, identity, renewed_identity, body))

    def _newest(self) -> bytes | None:
        found: Any = self._client.zrange(self._keys.receipts(self._queue), -1, -1)
        return found[0] if found else None

    def _bring_back(self, receipt: str, places: list[str]) -> int:
        keys, moved = [*self._keys.aside(self._queue, receipt), *places], 0
        while part := self._run(_BRING_BACK, keys):
            moved += part
        return moved

    def _aside(self, script: str, state: str, receipt: str, what: object) -> int:
        aside = self._keys.aside(self._queue, f"{receipt}:{state}")
        keys = [*self._places[state], *aside, self._keys.receipts(self._queue)]
        return self._run(script, keys, receipt, ASIDE_SECONDS, what)

    def _run(self, script: str, keys: list[str], *values: object) -> int:
        evaluate: Any = self._client.eval
        return int(evaluate(script, len(keys), *keys, *values))
