"""A Redis client of our own: the app's server, user and TLS, our time-outs, one connection.

kombu's client prefixes only some commands with `global_keyprefix`, and the clients of both
frameworks wait for ever, or retry for seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from redis import Redis

_OURS: Final = ("retry", "retry_on_error", "retry_on_timeout", "decode_responses")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """Where to ask for the master of that name; `settings` are for the connections to there.

    `least` is how many other sentinels one has to know to be believed.
    """

    places: Sequence[tuple[str, int]]
    master: str
    least: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


def client(
    settings: Mapping[str, Any], connection_class: type[Any] | None, timeout: float
) -> Redis:
    """A client with the `settings` of a connection pool, which connects at the first command.

    No step of a command (connect, write, read) takes longer than `timeout` seconds.
    """
    import redis

    kept = _bounded(settings, timeout)
    pool = redis.ConnectionPool(connection_class=connection_class or redis.Connection, **kept)
    return redis.Redis(connection_pool=pool)


def client_by_sentinel(settings: Mapping[str, Any], sentinels: Sentinels, timeout: float) -> Redis:
    """A client of the master that the first sentinel which answers names."""
    from redis import sentinel

    kept, make = _bounded(settings, timeout), cast("Any", sentinel.Sentinel)
    del kept["host"], kept["port"]
    asked = make(
        sentinels.places,
        min_other_sentinels=sentinels.least,
        sentinel_kwargs=_bounded(sentinels.settings, timeout),
        **kept,
    )
    master: Redis = asked.master_for(sentinels.master)
    return master


def _bounded(settings: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    kept = {key: value for key, value in settings.items() if key not in _OURS}
    kept |= {
        "socket_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "max_connections": 2,
    }
    if "path" not in kept:
        kept["socket_connect_timeout"] = timeout
    return kept


def client_like(other: Any, timeout: float) -> Redis:
    """A client to where the client `other` goes."""
    pool = other.connection_pool
    return client(pool.connection_kwargs, pool.connection_class, timeout)


def client_to(url: str, timeout: float) -> Redis:
    """A client to the server at `url`."""
    import redis

    pool = redis.ConnectionPool.from_url(url)
    return client(pool.connection_kwargs, pool.connection_class, timeout)


def text(value: object) -> str:
    """A name that Redis returned."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
