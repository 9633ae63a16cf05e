"""How many spans did not get out, and why: `taskqueue.telemetry.dropped`."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Observation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import Meter

QUEUE_FULL = "queue_full"
EXPORT_FAILED = "export_failed"


class Dropped:
    """Spans dropped in this process, by reason. A forked child counts from zero."""

    def __init__(self) -> None:
        self._begin()

    def add(self, reason: str, spans: int) -> None:
        """Count `spans` more. From any thread."""
        self._own_process()
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + spans

    def total(self) -> int:
        """All of them, whatever the reason."""
        self._own_process()
        return sum(self._counts.values())

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """What a collection sees."""
        self._own_process()
        return [
            Observation(count, {"reason": reason}) for reason, count in tuple(self._counts.items())
        ]

    def publish(self, meter: Meter) -> None:
        """Have it collected with the metrics of `meter`."""
        meter.create_observable_counter(
            "taskqueue.telemetry.dropped",
            callbacks=[self.observe],
            unit="{span}",
            description="Spans that were finished and did not reach the backend",
        )

    def _own_process(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
