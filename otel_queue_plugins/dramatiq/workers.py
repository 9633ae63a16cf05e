"""The workers of this process: what they hold, and what is left to export when they stop."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from otel_queue_plugins import sdk
from otel_queue_plugins.core.safety import do_nothing, never_raises

if TYPE_CHECKING:
    from dramatiq import Worker

    from otel_queue_plugins.core.telemetry import QueueTelemetry


class Workers:
    """Every worker that has booted and not stopped; usually one."""

    def __init__(self, telemetry: QueueTelemetry) -> None:
        self._telemetry = telemetry
        self._running: weakref.WeakSet[Worker] = weakref.WeakSet()
        self._observed = False
        self._flushing: threading.Thread | None = None

    @never_raises(do_nothing)
    def booting(self, worker: Worker) -> None:
        """`worker` is about to start its threads."""
        self._running.add(worker)
        if not self._observed:
            self._observed = True
            self._telemetry.observe_worker(capacity=self._capacity, reserved=self._reserved)

    @never_raises(do_nothing)
    def stopping(self) -> None:
        """Send what there is, beside the shutdown: it may be cut short."""
        self._flushing = threading.Thread(target=sdk.flush, daemon=True)
        self._flushing.start()

    @never_raises(do_nothing)
    def stopped(self, worker: Worker) -> None:
        """Send the rest. Takes no longer than the bound of `sdk.flush`."""
        self._running.discard(worker)
        if self._flushing is not None:
            self._flushing.join()
        sdk.flush()

    def _capacity(self) -> int:
        return sum(worker.worker_threads for worker in self._running)

    def _reserved(self) -> int:
        return sum(_held(worker) for worker in self._running)


def _held(worker: Worker) -> int:
    delayed = sum(thread.delay_queue.qsize() for thread in list(worker.consumers.values()))
    return worker.work_queue.qsize() + delayed
