"""Share between forked processes that the backend does not answer.

Otherwise each pool process that ends during an outage would wait as long as the first one, and with
processes that end after one task, each task would.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk.shared_memory import OUTAGE_SEEN, Moment

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds for which a failed flush counts for the other processes.
_VALID_FOR = 60.0


class Outage:
    """An outage, as seen by a process and its forks, which need the same `clock`."""

    def __init__(
        self, seen: Moment = OUTAGE_SEEN, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seen = seen
        self._clock = clock

    def begin(self) -> None:
        """Record that a flush was not done in time."""
        self._seen.at = self._clock()

    def end(self) -> None:
        """Record that a flush was done in time."""
        self._seen.at = 0.0

    def is_on(self) -> bool:
        """Whether the last flush in any of the processes failed, less than a minute ago."""
        seen_at = self._seen.at
        return bool(seen_at) and self._clock() - seen_at < _VALID_FOR
