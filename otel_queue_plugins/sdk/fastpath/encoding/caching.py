"""Caches of encoded values, within a bound of bytes.

There are no locks: if two threads encode the same value at the same time, one result is kept. Kept
bytes never change, so a forked child can use those of its parent.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Any, Generic, TypeVar

K = TypeVar("K")

MOST_BYTES = 1 << 20
LONGEST = 256
# About what a dict needs for one entry.
_ENTRY_BYTES = 100


class Budget:
    """The bytes that some caches may hold together. When they are used up, all are emptied."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.used = 0
        self._most = most
        self._caches: list[dict[Any, Any]] = []

    def covers(self, cache: dict[Any, Any]) -> None:
        """Empty `cache`, and with it the caches inside it, when the budget is used up."""
        self._caches.append(cache)

    def spend(self, *kept: object) -> None:
        """Count one more entry, which consists of the objects `kept`."""
        self.used += _ENTRY_BYTES + sum(map(getsizeof, kept))
        if self.used > self._most:
            self.used = 0
            for cache in self._caches:
                cache.clear()


class Cache(dict[K, bytes], Generic[K]):
    """Gives the encoded form of any value by `cache[value]`; `encode` makes a missing one.

    Forms of up to 256 bytes are kept, for `most` values. If there are more values, they are
    probably ids, each seen once: from then on nothing is kept.
    """

    __slots__ = ("_budget", "_most")

    def __init__(self, budget: Budget, most: int) -> None:
        super().__init__()
        self._budget = budget
        self._most = most

    def encode(self, value: K) -> bytes:
        """Encode `value`. May raise any exception."""
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
