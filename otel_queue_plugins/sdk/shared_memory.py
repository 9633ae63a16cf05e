"""Numbers in memory that a process shares with all it forks. They need no lock and never grow.

The memory is made at the import of this module, because it must exist before a fork. A process that
was spawned, or has imported the module itself, shares it with its own forks only.
"""

from __future__ import annotations

import mmap
import os

_SLOTS = 512


class Moment:
    """A time in seconds; 0.0 until a process has set it."""

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8)).cast("d")

    @property
    def at(self) -> float:
        """The time that any of the processes has set last."""
        return float(self._memory[0])

    @at.setter
    def at(self, value: float) -> None:
        self._memory[0] = value


class Tally:
    """A number that all processes add to.

    Each process has a slot of its own, by its pid, and needs no lock. Two processes whose pids
    differ by a multiple of 512 share a slot; if both add in the same microsecond, one addition is
    lost.
    """

    def __init__(self) -> None:
        self._first_pid = os.getpid()
        self._slots = memoryview(mmap.mmap(-1, 8 * _SLOTS)).cast("q")

    def add(self, number: int) -> None:
        """Add `number`, which may be negative."""
        self._slots[os.getpid() % _SLOTS] += number

    def total(self) -> int:
        """The sum over all processes."""
        return sum(self._slots)

    def is_first_process(self) -> bool:
        """Whether this is the process that all others were forked from."""
        return self._first_pid == os.getpid()


class Claim:
    """A right that one process has, of those forked from each other: the first that asks."""

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8)).cast("q")

    def is_mine(self) -> bool:
        """Whether this process has the right; takes it if nobody has it."""
        if not self._memory[0]:
            self._memory[0] = os.getpid()
        return self._memory[0] == os.getpid()

    def release(self) -> None:
        """Give up the right, so that the next process that asks gets it."""
        self._memory[0] = 0


OUTAGE_SEEN = Moment()
WARNED = Moment()
REFUSED = {signal: Moment() for signal in ("traces", "metrics", "logs")}
LOST = Tally()
EXPORTED = Tally()
DROPPED = {reason: Tally() for reason in ("queue_full", "export_failed", "process_ended")}
LAST_EXPORT = Moment()
"""When an export has succeeded last, in seconds since the epoch."""
