"""Encoded forms that are kept, within bounds.

Without locks: of two threads that make the same one at the same time, either's is kept. What is
kept never changes, so a forked child goes on with what its parent had.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Any, Generic, TypeVar

K = TypeVar("K")

MOST_BYTES = 1 << 20
LONGEST = 256
# What a dict needs for an entry, about.
_ENTRY_BYTES = 100


class Budget:
    """Bytes that caches may hold together. When they are used up, all of them are emptied."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.used = 0
        self._most = most
        self._emptied: list[dict[Any, Any]] = []

    def covers(self, cache: dict[Any, Any]) -> None:
        """What `cache` holds, and caches that it holds, is counted by `spend`."""
        self._emptied.append(cache)

    def spend(self, *kept: object) -> None:
        """Count one entry more, and the size of what it consists of."""
        self.used += _ENTRY_BYTES + sum(map(getsizeof, kept))
        if self.used > self._most:
            self.used = 0
            for cache in self._emptied:
                cache.clear()


class Cache(dict[K, bytes], Generic[K]):
    """`cache[value]` is the encoded form of any value; `encode` makes it if it is not there.

    Kept are forms of up to 256 bytes, of `most` values. If there are more, each is probably seen
    once only, as an id is: then nothing is kept any more.
    """

    __slots__ = ("_budget", "_most")

    def __init__(self, budget: Budget, most: int) -> None:
        super().__init__()
        self._budget = budget
        self._most = most

    def encode(self, value: K) -> bytes:
        """The encoded form of `value`. May raise anything."""
        raise NotImplementedError

    def __missing__(self, value: K) -> bytes:
        encoded = self.encode(value)
        if self._most and len(encoded) <= LONGEST:
            self._keep(value, encoded)
        return encoded

    def _keep(self, value: K, encoded: bytes) -> None:
        if len(self) < self._most:
            self[value] = encoded
            self._budget.spend(value, encoded)
        else:
            self._most = 0
            self.clear()
