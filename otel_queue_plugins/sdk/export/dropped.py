"""How many spans did not get out, and why: `taskqueue.telemetry.dropped`."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Observation

from otel_queue_plugins.core import semconv
from otel_queue_plugins.sdk.process.shared_memory import LOST, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import Meter

QUEUE_FULL = "queue_full"
EXPORT_FAILED = "export_failed"
PROCESS_ENDED = "process_ended"


class Dropped:
    """Spans dropped in this process, by reason. A forked child counts from zero.

    A child that ends in an outage can tell the backend neither its last spans nor how many there
    were. It leaves their number in `lost`, which the process that it was forked from reports.
    `when_added` is called after each `add`, in its thread.
    """

    def __init__(self, lost: Tally = LOST) -> None:
        self._lost = lost
        self._waiting: list[Callable[[], int]] = []
        self.when_added: Callable[[], None] = lambda: None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._shown = self._reported = self._left = self._inherited = 0

    def add(self, reason: str, spans: int) -> None:
        """Count `spans` more. From any thread."""
        self._own_process()
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + spans
        self.when_added()

    def watch(self, waiting: Callable[[], int]) -> None:
        """`waiting` gives how many spans have neither got out yet nor been counted here."""
        self._waiting.append(waiting)

    def total(self) -> int:
        """All of them, whatever the reason."""
        self._own_process()
        return sum(self._counts.values()) + self._left_by_children()

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """What a collection sees."""
        self._own_process()
        counts = dict(self._counts)
        self._shown = sum(counts.values())
        if left := self._left_by_children():
            counts[PROCESS_ENDED] = left
        return [
            Observation(count, {semconv.DROP_REASON: reason}) for reason, count in counts.items()
        ]

    def publish(self, meter: Meter) -> None:
        """Have it collected with the metrics of `meter`."""
        meter.create_observable_counter(
            semconv.DROPPED,
            callbacks=[self.observe],
            unit="{span}",
            description="Spans that were finished and did not reach the backend",
        )

    def was_reported(self) -> None:
        """The backend has what the last collection saw."""
        self._own_process()
        self._reported = self._shown
        self.amend()

    def leave(self) -> None:
        """Said after the flush of a process that may end now."""
        self._own_process()
        if not self._lost.is_kept_here():
            with self._lock:
                self._leave(self._unknown())

    def amend(self) -> None:
        """Take back what got out after all."""
        if self._pid == os.getpid() and self._left:
            with self._lock:
                self._leave(min(self._left, self._unknown()))

    def _leave(self, spans: int) -> None:
        self._lost.add(spans - self._left)
        self._left = spans

    def _unknown(self) -> int:
        waiting = sum(count() for count in self._waiting)
        return waiting + sum(self._counts.values()) - self._reported

    def _left_by_children(self) -> int:
        """Never less than before: what was taken back meanwhile is made up for by the next."""
        if self._lost.is_kept_here():
            self._inherited = max(self._inherited, self._lost.total())
        return self._inherited

    def _own_process(self) -> None:
        if self._pid != os.getpid():
            self._begin()
