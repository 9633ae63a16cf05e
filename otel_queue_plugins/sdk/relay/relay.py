"""One worker's way out: which process exports, and what each of the others does instead."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.sdk.global_providers import OWN, lock_of_this_process
from otel_queue_plugins.sdk.relay.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_queue_plugins.sdk.relay.collector import Collector
    from otel_queue_plugins.sdk.relay.fields import Fields
    from otel_queue_plugins.sdk.relay.lanes import Lane
    from otel_queue_plugins.sdk.relay.metrics_export import MetricsExport
    from otel_queue_plugins.sdk.relay.pipe import Pipe

# No thread is started in the process that exports before its pool has been forked, unless that
# takes so long.
_LONGEST_START: Final = 5.0


class Relay:
    """Of a worker, shared by its processes. The one that made it exports.

    Each call looks up which process it is in: children forked at any time inherit this as it is.
    """

    collector: Collector
    span_fields: Fields
    log_fields: Fields

    def __init__(self, pipe: Pipe, most_spans: int, most_logs: int) -> None:
        self._pipe = pipe
        self._most = (most_spans, most_logs)
        self._home = self._pid = os.getpid()
        self._outbox: Outbox | None = None
        self._opened_at = time.monotonic()
        self._threads_started = False
        self._ordinary: dict[tuple[int, str], Any] = {}
        self.lanes: dict[str, list[Lane]] = {"traces": [], "logs": []}
        self.metrics: MetricsExport | None = None
        self.make_ordinary: Mapping[str, Callable[[], Any]] = {}
        self.resource_of_child: Callable[[], bytes | None] = lambda: None

    def is_here(self) -> bool:
        """Whether this process exports for all."""
        return self._home == os.getpid()

    def outbox(self) -> Outbox | None:
        """Where this process leaves what it has recorded.

        None in the one that exports, and in one that was cut off from it: it exports by itself.
        """
        pid = os.getpid()
        if pid != self._pid:
            self._enter(pid)
        outbox = self._outbox
        return None if outbox is None or outbox.is_cut_off else outbox

    def _enter(self, pid: int) -> None:
        with lock_of_this_process():
            if pid != self._pid:
                outbox = Outbox(self._pipe, *self._most, self.resource_of_child())
                outbox.is_cut_off = not self._pipe.is_there()
                self._outbox = outbox
                self._pid = pid

    # The process that exports.

    def start(self) -> None:
        """Have the threads that read and send, from now on."""
        if self._threads_started or not self.is_here():
            return
        self._threads_started = True
        runs = [self.collector.run, *(lane.run for lane in self._all_lanes())]
        if self.metrics is not None:
            runs.append(self.metrics.run)
        for run in runs:
            threading.Thread(target=run, name="otel-queue-relay", daemon=True).start()

    def put_span(self, scope: bytes, field: bytes) -> None:
        """A span of the process that exports."""
        self._put("traces", scope, field)

    def put_log(self, scope: bytes, field: bytes) -> None:
        """A log record of the process that exports."""
        self._put("logs", scope, field)

    def _put(self, signal: str, scope: bytes, field: bytes) -> None:
        for lane in self.lanes[signal]:
            lane.put(scope, field)
        if not self._threads_started and time.monotonic() - self._opened_at > _LONGEST_START:
            self.start()

    def _all_lanes(self) -> list[Lane]:
        return [lane for lanes in self.lanes.values() for lane in lanes]

    def settle(self) -> None:
        """Take what others have handed over, and record what they have measured."""
        self.collector.settle()

    def has_ended(self, span_id: int) -> bool:
        """Whether a child has recorded the end of the delivery with this span."""
        return self.is_here() and self.collector.has_ended(span_id)

    def providers(self) -> list[Any]:
        """The SDK's, of the process that exports."""
        made = [OWN.get("traces"), self.metrics and self.metrics.provider, OWN.get("logs")]
        return [each for each in made if each is not None]

    # Any process.

    def own_meter_provider(self) -> Any:
        """The SDK's meter provider that measurements of this process go to; None in a child."""
        if self.is_here():
            return self.metrics and self.metrics.provider
        return None if self.outbox() is not None else self._own("metrics")

    def ordinary_span_processor(self) -> Any:
        """That of a process that was cut off."""
        return self._own("traces")

    def ordinary_log_processor(self) -> Any:
        """That of a process that was cut off."""
        return self._own("logs")

    def _own(self, signal: str) -> Any:
        key = (os.getpid(), signal)
        with lock_of_this_process():
            if key not in self._ordinary:
                self._ordinary[key] = self.make_ordinary[signal]()
            return self._ordinary[key]

    def hand_over(self) -> None:
        """What was recorded in this process and has not left yet leaves now, if there is room."""
        outbox = self.outbox()
        if outbox is not None:
            outbox.hand_over()

    def waiting(self) -> int:
        """Spans that have not left this process."""
        outbox = self.outbox()
        if outbox is not None:
            return outbox.waiting()
        return sum(lane.waiting() for lane in self.lanes["traces"]) if self.is_here() else 0

    def flush(self, signal: str, seconds: float) -> bool:
        """Hand over, or send, within that time. Whether all is gone."""
        deadline = time.monotonic() + seconds
        outbox = self.outbox()
        if outbox is not None:
            return outbox.hand_over_until(deadline)
        if not self.is_here():
            own = self._ordinary.get((os.getpid(), signal))
            return own is None or bool(own.force_flush(int(seconds * 1000)))
        self.collector.drain(seconds)
        done = [lane.flush(deadline - time.monotonic()) for lane in self.lanes.get(signal, ())]
        return all(done)

    def flush_metrics(self, seconds: float) -> bool:
        """As `flush`."""
        if self.metrics is None or not self.is_here():
            return self.flush("metrics", seconds)
        self.collector.settle(seconds)
        return self.metrics.flush(seconds)
