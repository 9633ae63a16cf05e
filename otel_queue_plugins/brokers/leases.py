"""Leases on queues: of several reporters one reports a queue, and another when that one is gone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

MARGIN: Final = 0.95
"""The share of a lease that its holder uses: clocks of two machines do not run equally fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The leases that this reporter holds.

    `until` has, for each queue, the time of `time.monotonic()` at which its lease ends. `is_lost`
    says whether all of them ended before. `next_end` is in how many seconds the first lease of
    another reporter ends, if it is not renewed; None if that is unknown.
    """

    until: Mapping[str, float] = field(default_factory=dict)
    is_lost: Callable[[], bool] = bool
    next_end: float | None = None

    def has(self, queue: str, now: float) -> bool:
        """Whether the lease of `queue` is held at `now`, a time of `time.monotonic()`."""
        return now < self.until.get(queue, -math.inf) and not self.is_lost()


class Leases(Protocol):
    """The leases of one reporter. Used by one thread."""

    def hold(self, queues: Sequence[str]) -> Held:
        """Take or renew the leases of `queues` that are free, and give back all others.

        Raises RefusedError where the user of the broker may not hold leases.
        """
        ...

    def close(self) -> None:
        """Give back all leases, if the broker answers, and drop the connection."""
        ...


class Unshared:
    """For one reporter alone: every lease is held, for ever."""

    def hold(self, queues: Sequence[str]) -> Held:
        """See `Leases`."""
        return Held(until=dict.fromkeys(queues, math.inf))

    def close(self) -> None:
        """See `Leases`."""
