"""The process that exports takes what the others have handed over.

In a thread that lets much come together: to wake up for each task would take the interpreter from
the main thread each time, which feeds all the others. Whoever has to know what a process had to say
before it died may read at once (`drain`).
"""

from __future__ import annotations

import logging
import marshal
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.sdk.relay.measured import MOST_SERIES
from otel_queue_plugins.sdk.relay.parts import Assembly, Source
from otel_queue_plugins.sdk.relay.replay import Exemplars, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.sdk.relay.lanes import Lane
    from otel_queue_plugins.sdk.relay.pipe import Pipe
    from otel_queue_plugins.sdk.relay.replay import Bound, Replay

logger = logging.getLogger("otel_queue_plugins")

_TOGETHER: Final = 0.03  # seconds between a first message and reading
_IDLE: Final = 60.0
_MUCH: Final = 1 << 16
_LONGEST_WAIT: Final = 1.0
_MOST_SOURCES: Final = 64
_MOST_ENDED: Final = 8192


class Collector:
    """Reads the pipe, in one thread at a time."""

    def __init__(
        self,
        pipe: Pipe,
        spans: list[Lane],
        logs: list[Lane],
        replay: Replay | None,
        dropped: Callable[[int], None],
    ) -> None:
        self._pipe = pipe
        self._spans = spans
        self._logs = logs
        self._replay = replay
        self._dropped = dropped
        self._assembly = Assembly()
        self._series: dict[Source, dict[int, Bound]] = {}
        self._most_sources = _MOST_SOURCES
        self._ended: set[int] = set()
        self._ended_before: set[int] = set()
        self._exemplars = Exemplars()
        self._lock = threading.RLock()

    def has_ended(self, span_id: int) -> bool:
        """Whether the process that ran the delivery with this span has recorded its end."""
        self.drain()
        return span_id in self._ended or span_id in self._ended_before

    def drain(self, wait: float = _LONGEST_WAIT) -> None:
        """Take all that is there. Not if somebody else does for longer than `wait` seconds."""
        if not self._lock.acquire(timeout=wait):
            return
        try:
            self._exemplars = Exemplars()
            while received := self._pipe.read():
                self._take(received)
        finally:
            self._lock.release()

    def run(self) -> None:
        """Read for ever."""
        while True:
            if self._pipe.wait_for_content(_IDLE):
                time.sleep(_TOGETHER)
                self.drain()

    def _take(self, received: bytes) -> None:
        for source, message in list(self._assembly.add(received)):
            self._try(source, message)

    def _try(self, source: Source, message: bytes) -> None:
        try:
            self._apply(source, marshal.loads(message))  # noqa: S302 - from our own children
        except Exception:
            logger.exception("what process %s has handed over could not be used", source[0])

    def _apply(self, source: Source, message: Any) -> None:
        spans, logs, *measurements, ended, dropped, resource = message
        for lanes, records in ((self._spans, spans), (self._logs, logs)):
            for scope, fields in records.items():
                for lane in lanes:
                    lane.put_all(resource, scope, fields)
        if ended:
            self._note_ended(ended)
        if dropped:
            self._dropped(dropped)
        if self._replay is not None and any(measurements):
            self._measure(self._replay, source, *measurements)

    def _measure(
        self,
        replay: Replay,
        source: Source,
        defined: list[Any],
        contexts: list[tuple[int, int, int]],
        flat: list[float],
        repeated: list[tuple[int, float, int]],
    ) -> None:
        series = self._series.get(source)
        if series is None:
            series = self._new_source(source)
        for number, about, attributes in defined:
            series[number] = replay.bind(about, attributes)
        if len(series) > 2 * MOST_SERIES:
            _forget_oldest(series)
        run(series, contexts, flat, repeated, self._exemplars)

    def _new_source(self, source: Source) -> dict[int, Bound]:
        if len(self._series) >= self._most_sources:
            for each in [each for each in self._series if not _is_alive(each[0])]:
                del self._series[each]
                self._assembly.forget(each)
            self._most_sources = max(_MOST_SOURCES, 2 * len(self._series))
        series = self._series[source] = {}
        return series

    def _note_ended(self, ended: list[int]) -> None:
        if len(self._ended) >= _MOST_ENDED:
            self._ended_before, self._ended = self._ended, set()
        self._ended.update(ended)


def _forget_oldest(series: dict[int, Bound]) -> None:
    """Numbers only grow, and no process uses more than the last 4,096 that it gave."""
    for number in sorted(series)[:-MOST_SERIES]:
        del series[number]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
