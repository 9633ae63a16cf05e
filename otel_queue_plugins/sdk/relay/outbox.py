"""What a process of a worker has recorded, and how it gets to the one that exports.

It leaves with the span that ends, in one message: a process that is killed has handed over a task's
span and what was counted for it, or neither. Nothing here waits. What finds no room stays, within
bounds: of spans and log records the oldest are dropped and counted, measurements are added up.
"""

from __future__ import annotations

import marshal
import os
import random
import threading
import time
from typing import Any, Final, TypeVar

from otel_queue_plugins.sdk.relay import measured, parts, shapes
from otel_queue_plugins.sdk.relay.measured import AllSeries, Measurement, Series
from otel_queue_plugins.sdk.relay.pipe import Pipe

_FORMAT: Final = 2
_MOST_AT_ONCE: Final = 512  # spans, log records, measurements in a message
_MOST_MERGED: Final = 8192
_MANY: Final = 64  # measurements that are worth the time to merge them
_RETRY_SECONDS: Final = 0.05

T = TypeVar("T")
Record = tuple[bytes, bytes]
"""The field of a span or log record, and what its scope is encoded as, which comes first."""


class Outbox:
    """That of one process, for all its threads."""

    def __init__(
        self, pipe: Pipe, most_spans: int, most_logs: int, resource: bytes | None = None
    ) -> None:
        self.series = AllSeries()
        self._pipe = pipe
        self._source = (os.getpid(), random.SystemRandom().getrandbits(32))
        self._resource = resource  # None: that of the process that exports
        self._number = 0
        self._most = (most_spans, most_logs)
        self._spans: list[Record] = []
        self._logs: list[Record] = []
        self._measurements: list[Measurement] = []
        self._totals: dict[Series, tuple[int, float]] = {}
        self._ended: list[bytes] = []
        self._dropped = 0
        self._unsent: list[bytes] = []
        self._spans_unsent = 0
        # A lock that may be taken twice: a collection of garbage in here may log.
        self._lock = threading.RLock()
        self._is_busy = False
        self._retries = False
        self.is_cut_off = False

    def add_span(self, scope: bytes, span: bytes) -> None:
        """A span has ended: it leaves with all that was recorded before it."""
        self._spans.append((scope, span))
        self.hand_over()

    def add_log(self, scope: bytes, record: bytes) -> None:
        """A log record leaves at once: it may be the last word before a kill."""
        self._logs.append((scope, record))
        self.hand_over()

    def add(self, measurement: Measurement) -> None:
        """It leaves with the next span, or when there are many."""
        self._measurements.append(measurement)
        if len(self._measurements) >= _MOST_AT_ONCE:
            self.hand_over()

    def add_end(self, span_id: int) -> None:
        """A delivery of which another process knows the id of the span has ended here."""
        self._ended.append(span_id.to_bytes(8, "big"))

    def waiting(self) -> int:
        """Spans that have not left, and those that were dropped and not told of."""
        return len(self._spans) + self._spans_unsent + self._dropped

    def hand_over(self) -> bool:
        """Whether all that was recorded so far has left."""
        with self._lock:
            if self._is_busy:
                return False
            self._is_busy = True
            try:
                return self._hand_over()
            finally:
                self._is_busy = False

    def hand_over_until(self, deadline: float) -> bool:
        """Try until then (`time.monotonic()`). Whether all has left."""
        while not self.hand_over():
            left = deadline - time.monotonic()
            if self.is_cut_off or left <= 0:
                return False
            self._pipe.wait_for_room(min(left, _RETRY_SECONDS))
        return True

    def _hand_over(self) -> bool:
        try:
            if not self._pipe.is_there():
                raise OSError("the pipe is gone")  # noqa: TRY301
            while self._unsent or self._has_content():
                if not self._unsent:
                    self._pack()
                if not self._write():
                    self._keep_within_bounds()
                    self._retry_later()
                    return False
        except OSError:
            self.is_cut_off = True
            return False
        return True

    def _has_content(self) -> bool:
        return bool(
            self._spans or self._measurements or self._logs or self._dropped or self._totals
        )

    def _write(self) -> bool:
        while self._unsent:
            if not self._pipe.write(self._unsent[0]):
                return False
            del self._unsent[0]
        self._spans_unsent = 0
        return True

    def _pack(self) -> None:
        """The next message. What is taken leaves with it, or is not there any more."""
        spans = _taken(self._spans, _MOST_AT_ONCE)
        logs = _taken(self._logs, _MOST_AT_ONCE)
        measurements = _taken(self._measurements, _MOST_MERGED)
        if len(measurements) > _MANY:
            measurements = measured.merged(measurements)
        ended = _taken(self._ended, _MOST_AT_ONCE)
        dropped, self._dropped = self._dropped, 0
        defined: list[Any] = []
        packed = shapes.packed(measurements, defined) if measurements else None
        repeated = self._repeated(defined) if self._totals else None
        about = (defined or None, packed, repeated)
        content = (spans or None, logs or None, *about, b"".join(ended), dropped, self._resource)
        message = marshal.dumps(content, _FORMAT)
        self._unsent = parts.split(self._source, self._number, message)
        self._number += 1
        self._spans_unsent = len(spans) + dropped

    def _repeated(self, defined: list[Any]) -> list[tuple[int, float, int]]:
        totals, self._totals = self._totals, {}
        return [
            (shapes.number_of(series, defined), total / count, count)
            for series, (count, total) in totals.items()
        ]

    def _keep_within_bounds(self) -> None:
        most_spans, most_logs = self._most
        self._dropped += len(_taken(self._spans, len(self._spans) - most_spans))
        _taken(self._logs, len(self._logs) - most_logs)
        count = len(self._measurements)
        if count > _MOST_AT_ONCE:
            fewer = measured.merged(self._measurements[:count])
            if len(fewer) > _MOST_MERGED:
                fewer = measured.squeezed(fewer, self._totals)
            self._measurements[:count] = fewer

    def _retry_later(self) -> None:
        """Without it the last that was recorded would stay until something else is."""
        if self._retries:
            return
        self._retries = True
        try:
            threading.Thread(target=self._retry, name="otel-queue-retry", daemon=True).start()
        except RuntimeError:  # the interpreter ends
            self._retries = False

    def _retry(self) -> None:
        while not self.is_cut_off:
            self._pipe.wait_for_room(1.0)
            time.sleep(_RETRY_SECONDS)
            with self._lock:
                if self.hand_over():
                    self._retries = False
                    return


def _taken(items: list[T], most: int) -> list[T]:
    """The first of `items`, which are taken out. Others may append meanwhile."""
    if most <= 0:
        return []
    taken = items[:most]
    del items[: len(taken)]
    return taken
