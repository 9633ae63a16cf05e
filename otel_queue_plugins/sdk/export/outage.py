"""That the backend is away, as known to a process and all it has forked.

Without it every pool process that ends during an outage waits for as long as the first one did,
and with processes that end after a task, that is after every task.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk.process.shared_memory import OUTAGE_SEEN, Moment

if TYPE_CHECKING:
    from collections.abc import Callable

# How long a process that could not flush speaks for the others.
_REMEMBERED = 60.0


class Outage:
    """Shared with processes forked from here; `clock` must be the same in all of them."""

    def __init__(
        self, seen: Moment = OUTAGE_SEEN, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seen = seen
        self._clock = clock

    def begins(self) -> None:
        """A flush was not done in time."""
        self._seen.at = self._clock()

    def ends(self) -> None:
        """A flush was done in time."""
        self._seen.at = 0.0

    def is_on(self) -> bool:
        """Whether the last word, of the last minute, was that it began."""
        seen_at = self._seen.at
        return bool(seen_at) and self._clock() - seen_at < _REMEMBERED
