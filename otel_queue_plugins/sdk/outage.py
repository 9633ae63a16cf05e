"""That the backend is away, as known to a process and all it has forked.

Without it every pool process that ends during an outage waits for as long as the first one did,
and with processes that end after a task, that is after every task.
"""

from __future__ import annotations

import mmap
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# How long a process that could not flush speaks for the others.
_REMEMBERED = 60.0
_TIME = struct.Struct("d")


class Outage:
    """Shared with processes forked from here; `clock` must be the same in all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen_at = mmap.mmap(-1, _TIME.size)

    def begins(self) -> None:
        """A flush was not done in time."""
        _TIME.pack_into(self._seen_at, 0, self._clock())

    def ends(self) -> None:
        """A flush was done in time."""
        _TIME.pack_into(self._seen_at, 0, 0.0)

    def is_on(self) -> bool:
        """Whether the last word, of the last minute, was that it began."""
        (seen_at,) = _TIME.unpack_from(self._seen_at)
        return bool(seen_at) and self._clock() - seen_at < _REMEMBERED
