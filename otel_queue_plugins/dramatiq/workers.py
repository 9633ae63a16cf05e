"""The workers of this process: their gauges, and the flush when they stop."""

from __future__ import annotations

import sys
import threading
import weakref
from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_queue_plugins import sdk
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.dramatiq.worker_http import WorkerHttp

if TYPE_CHECKING:
    from dramatiq import Worker

    from otel_queue_plugins.core.telemetry import QueueTelemetry

_COMMANDS: Final = ("dramatiq", "dramatiq-gevent")


class Workers:
    """The workers that have booted and not stopped; usually one."""

    def __init__(self, telemetry: QueueTelemetry) -> None:
        self._telemetry = telemetry
        self._running: weakref.WeakSet[Worker] = weakref.WeakSet()
        self._observed = False
        self._flushing: threading.Thread | None = None
        self.http = WorkerHttp(telemetry, self._running)

    @never_raises(do_nothing)
    def booting(self, worker: Worker) -> None:
        """Count `worker`, which is about to start its threads, in the gauges."""
        self._running.add(worker)
        if not self._observed:
            self._observed = True
            self._telemetry.observe_worker(capacity=self._capacity, reserved=self._reserved)
        self.http.start(self._capacity, self._reserved, has_siblings=bool(has_several_processes()))

    def booted(self) -> None:
        """The threads of a worker have been started."""
        self.http.booted()

    @never_raises(do_nothing)
    def stopping(self) -> None:
        """Start a flush in another thread, since a signal may cut the shutdown short."""
        self.http.stopping()
        self._flushing = threading.Thread(target=sdk.flush, daemon=True)
        self._flushing.start()

    @never_raises(do_nothing)
    def stopped(self, worker: Worker) -> None:
        """Flush what the shutdown has recorded. Blocks no longer than `sdk.flush` does."""
        self._running.discard(worker)
        if self._flushing is not None:
            self._flushing.join()
        sdk.flush()
        if not self._running:
            self.http.stopped()

    def _capacity(self) -> int:
        return sum(worker.worker_threads for worker in self._running)

    def _reserved(self) -> int:
        return sum(_held_by(worker) for worker in self._running)


def _held_by(worker: Worker) -> int:
    """The number of messages that `worker` has received and not begun."""
    delayed = sum(thread.delay_queue.qsize() for thread in list(worker.consumers.values()))
    return worker.work_queue.qsize() + delayed


def has_several_processes() -> bool | None:
    """Whether the `dramatiq` command of this process runs more than one worker process.

    None in a process that was not started by that command.
    """
    program = Path(sys.argv[0] if sys.argv else "")
    is_module = program.name == "__main__.py" and program.parent.name == "dramatiq"
    if program.name not in _COMMANDS and not is_module:
        return None
    try:
        with redirect_stderr(StringIO()):
            parser = import_module("dramatiq.cli").make_argument_parser()
            arguments, _ = parser.parse_known_args(sys.argv[1:])
    except (Exception, SystemExit):  # noqa: BLE001 - another command of that name
        return None
    return bool(arguments.processes > 1)
