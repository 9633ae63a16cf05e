"""Leases on Redis: a key for each queue, which expires unless its holder renews it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.leases import MARGIN, Held

if TYPE_CHECKING:
    from redis import Redis

_MINE: Final = -3
_HOLD: Final = f"""
local left = {{}}
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then
    redis.call('PEXPIRE', key, ARGV[2])
    left[i] = {_MINE}
  elseif redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then
    left[i] = {_MINE}
  else
    left[i] = redis.call('PTTL', key)
  end
end
return left
"""
_GIVE_BACK: Final = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
"""
_NOT_ALLOWED: Final = (
    "the user of the broker may not keep the keys {prefix}* by which reporters agree on one of "
    "them ({error}); allow it, or run one reporter alone with OTEL_QUEUE_STATE_LEASE=off"
)


class RedisLeases:
    """See `leases.Leases`. All leases are taken and renewed in one round trip.

    `prefix` comes before the name of the queue in a key. `lifetime` is in seconds.
    """

    def __init__(
        self,
        client: Callable[[], Redis],
        prefix: str,
        owner: str,
        lifetime: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._owner = owner
        self._lifetime = lifetime
        self._clock = clock
        self._held: set[str] = set()

    def hold(self, queues: Sequence[str]) -> Held:
        """See `leases.Leases`."""
        self._give_back(self._held.difference(queues))
        if not queues:
            return Held()
        # The time before the request: the broker's lease begins later, and so ends later.
        until = self._clock() + self._lifetime * MARGIN
        left = self._run(_HOLD, queues, int(self._lifetime * 1000))
        mine = {name for name, each in zip(queues, left, strict=True) if each == _MINE}
        others = [each / 1000 for each in left if each > 0]
        self._held |= mine
        return Held(until=dict.fromkeys(mine, until), next_end=min(others, default=None))

    def close(self) -> None:
        """See `leases.Leases`."""
        self._give_back(self._held)

    def _give_back(self, queues: set[str]) -> None:
        if queues:
            self._run(_GIVE_BACK, sorted(queues))
            self._held = self._held - queues

    def _run(self, script: str, queues: Sequence[str], *arguments: int) -> Any:
        from redis import exceptions

        client = self._client()
        keys = [f"{self._prefix}{queue}" for queue in queues]
        try:
            return client.register_script(script)(keys, [self._owner, *arguments])
        except exceptions.NoPermissionError as error:
            reason = " ".join(str(error).split())
            text = _NOT_ALLOWED.format(prefix=self._prefix, error=reason)
            raise RefusedError(text) from error
