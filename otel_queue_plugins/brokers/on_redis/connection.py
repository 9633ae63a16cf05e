"""The one connection of a storage on Redis, and what counts as its failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis import Redis


class Connection:
    """A client that is made at the first use, and again after it was dropped."""

    def __init__(self, make: Callable[[], Redis]) -> None:
        import redis

        self._make = make
        self._client: Redis | None = None
        self.errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self.timeouts: tuple[type[Exception], ...] = (redis.TimeoutError, TimeoutError)

    @property
    def is_open(self) -> bool:
        """Whether there is a client; its server may be gone."""
        return self._client is not None

    @property
    def client(self) -> Redis:
        """The client."""
        if self._client is None:
            self._client = self._make()
        return self._client

    def drop(self) -> None:
        """Close what is open. A connection that is broken may say so when closed: no matter."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.connection_pool.disconnect()
            except self.errors:
                return
