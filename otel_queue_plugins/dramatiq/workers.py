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

from dramatiq.common import q_name

from otel_queue_plugins import sdk
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.dramatiq.broker import address_of
from otel_queue_plugins.dramatiq.worker_http import Gauges, WorkerHttp

if TYPE_CHECKING:
    from dramatiq import Broker, Worker

    from otel_queue_plugins.core.telemetry import QueueTelemetry
    from otel_queue_plugins.reporting.reporter import Reporter

_COMMANDS: Final = ("dramatiq", "dramatiq-gevent")


class Workers:
    """The workers that have booted and not stopped; usually one."""

    def __init__(self, telemetry: QueueTelemetry) -> None:
        self._telemetry = telemetry
        self._running: weakref.WeakSet[Worker] = weakref.WeakSet()
        self._reporters: dict[Worker, Reporter] = {}
        self._observed = False
        self._flushing: threading.Thread | None = None
        self.http = WorkerHttp(telemetry, self._running)

    @never_raises(do_nothing)
    def booting(self, worker: Worker) -> None:
        """Count `worker`, which is about to start its threads, in the gauges."""
        self._running.add(worker)
        if not self._observed:
            self._observed = True
            self._telemetry.observe_worker(
                capacity=self._capacity,
                reserved=self._reserved,
                scheduled=self._scheduled,
                consuming=self._consuming,
            )
        gauges = Gauges(self._capacity, self._reserved, self._scheduled)
        self.http.start(gauges, has_siblings=bool(has_several_processes()))

    @never_raises(do_nothing)
    def booted(self, worker: Worker) -> None:
        """`worker` consumes: report the state of its queues, if that is asked for."""
        self.http.booted()
        if self._telemetry.options.queue_state and worker not in self._reporters:
            from otel_queue_plugins.reporting import starting

            found = starting.start_for_dramatiq(
                worker.broker, lambda: _consumed(worker), self._telemetry.meter_provider
            )
            if found is not None:
                self._reporters[worker] = found

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
        self.stop_reporter(worker)
        if self._flushing is not None:
            self._flushing.join()
        sdk.flush()
        if not self._running:
            self.http.stopped()

    @never_raises(do_nothing)
    def stop_reporter(self, worker: Worker) -> None:
        """Give back the leases on queues, and report their state no more."""
        reporter = self._reporters.pop(worker, None)
        if reporter is not None:
            reporter.stop()

    def leave(self, broker: Broker) -> None:
        """Stop what was started for the workers of `broker`."""
        for worker in list(self._reporters):
            if worker.broker is broker:
                self.stop_reporter(worker)

    def _capacity(self) -> int:
        return sum(worker.worker_threads for worker in self._running)

    def _reserved(self) -> int:
        return sum(worker.work_queue.qsize() for worker in self._running)

    def _scheduled(self) -> int:
        consumers = [each for worker in self._running for each in list(worker.consumers.values())]
        return sum(consumer.delay_queue.qsize() for consumer in consumers)

    def _consuming(self) -> list[tuple[str, str]]:
        return [
            (address_of(worker.broker).system, name)
            for worker in self._running
            for name in _consumed(worker)
        ]


def _consumed(worker: Worker) -> list[str]:
    """The queues of `worker` by the names that its users know, each once."""
    return sorted({q_name(name) for name in list(worker.consumers)})


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
