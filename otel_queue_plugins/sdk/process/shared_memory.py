"""Memory that a process shares with all it forks. Nothing in it can block, and none of it grows.

It has to be there before the fork, so it is made when this is imported. A process that was spawned,
or that imported this by itself, is a family of its own.
"""

from __future__ import annotations

import mmap
import os

_PLACES = 512


class Moment:
    """A time; `at` is 0.0 as long as nobody has set it."""

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8)).cast("d")

    @property
    def at(self) -> float:
        """What some process has set last."""
        return float(self._memory[0])

    @at.setter
    def at(self, value: float) -> None:
        self._memory[0] = value


class Tally:
    """A number that each process adds to.

    Without a lock: a process has a place of its own, by its pid. Two whose pids differ by a
    multiple of 512 share one; an addition is lost if both add in the same microsecond.
    """

    def __init__(self) -> None:
        self._keeper = os.getpid()
        self._places = memoryview(mmap.mmap(-1, 8 * _PLACES)).cast("q")

    def add(self, number: int) -> None:
        """Add `number`, which may be negative."""
        self._places[os.getpid() % _PLACES] += number

    def total(self) -> int:
        """What all have added."""
        return sum(self._places)

    def is_kept_here(self) -> bool:
        """Whether this process is the one that all others were forked from."""
        return self._keeper == os.getpid()


class Claim:
    """What one process of the family does for all of them: the first that asks."""

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8)).cast("q")

    def is_mine(self) -> bool:
        """Whether it is this process that does it."""
        if not self._memory[0]:
            self._memory[0] = os.getpid()
        return self._memory[0] == os.getpid()

    def release(self) -> None:
        """Let the next that asks do it."""
        self._memory[0] = 0


OUTAGE_SEEN = Moment()
WARNED = Moment()
REFUSED = {signal: Moment() for signal in ("traces", "metrics", "logs")}
LOST = Tally()
