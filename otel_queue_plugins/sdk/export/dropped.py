"""Count spans that were not exported, by reason: `taskqueue.telemetry.dropped`."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Observation

from otel_queue_plugins.core import semconv
from otel_queue_plugins.sdk.shared_memory import DROPPED, LOST, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import Meter

QUEUE_FULL = "queue_full"
EXPORT_FAILED = "export_failed"
PROCESS_ENDED = "process_ended"


class Dropped:
    """Spans dropped in this process, by reason. A forked child counts from zero.

    A child that ends during an outage can export neither its last spans nor their number. It adds
    the number to `lost`, which the process that it was forked from reports.

    Args:
        lost: Shared with the processes forked from this one.

    Attributes:
        when_added: Called after each `add`, in its thread.
        counts_all: Whether the instrument shows what all forked processes have dropped, because
            none of them has an instrument of its own.
    """

    def __init__(self, lost: Tally = LOST) -> None:
        self._lost = lost
        self._waiting: list[Callable[[], int]] = []
        self.when_added: Callable[[], None] = lambda: None
        self.counts_all = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._shown = self._reported = self._left = self._inherited = 0
        self._left_waiting = 0

    def add(self, reason: str, spans: int) -> None:
        """Add `spans` to the number for `reason`. From any thread."""
        self._check_process()
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + spans
            DROPPED[reason].add(spans)
        self.when_added()

    def watch(self, waiting: Callable[[], int]) -> None:
        """Use `waiting`, which returns how many spans are neither exported nor counted here yet."""
        self._waiting.append(waiting)

    def total(self) -> int:
        """The number of dropped spans, for all reasons."""
        self._check_process()
        return sum(self._counts.values()) + self._left_by_children()

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The callback of the instrument."""
        self._check_process()
        counts = dict(self._counts)
        self._shown = sum(counts.values())
        if self.counts_all:
            counts = self._of_all_processes()
        elif left := self._left_by_children():
            counts[PROCESS_ENDED] = left
        return [
            Observation(count, {semconv.DROP_REASON: reason}) for reason, count in counts.items()
        ]

    def _of_all_processes(self) -> dict[str, int]:
        counts = {reason: tally.total() for reason, tally in DROPPED.items()}
        self._inherited = max(self._inherited, counts[PROCESS_ENDED])
        counts[PROCESS_ENDED] = self._inherited
        return {reason: count for reason, count in counts.items() if count}

    def publish(self, meter: Meter) -> None:
        """Create the instrument with `meter`."""
        meter.create_observable_counter(
            semconv.DROPPED,
            callbacks=[self.observe],
            unit="{span}",
            description="Spans that were finished and did not reach the backend",
        )

    def mark_reported(self) -> None:
        """The backend has the numbers of the last collection."""
        self._check_process()
        self._reported = self._shown
        self.amend()

    def leave(self) -> None:
        """Add to `lost` what this process could not export; after a flush, as it may end now."""
        self._check_process()
        if not self._lost.is_first_process():
            with self._lock:
                self._set_left(self._unreported())

    def amend(self) -> None:
        """Take back from `lost` what was exported after all."""
        if self._pid == os.getpid() and self._left:
            with self._lock:
                self._set_left(min(self._left, self._unreported()))

    def _set_left(self, spans: int) -> None:
        self._lost.add(spans - self._left)
        self._left = spans
        waiting = min(spans, self._all_waiting())
        DROPPED[PROCESS_ENDED].add(waiting - self._left_waiting)
        self._left_waiting = waiting

    def _unreported(self) -> int:
        return self._all_waiting() + sum(self._counts.values()) - self._reported

    def _all_waiting(self) -> int:
        return sum(count() for count in self._waiting)

    def _left_by_children(self) -> int:
        """The children's spans in `lost`; the number never falls, as it is that of a counter."""
        if self._lost.is_first_process():
            self._inherited = max(self._inherited, self._lost.total())
        return self._inherited

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self._begin()
