"""Spans or log records on their way to one backend: a bounded queue, and a thread that sends.

With the settings and the behaviour of the SDK's batch processor, but of what is encoded already.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context

from otel_queue_plugins.sdk.export.dropped import EXPORT_FAILED, QUEUE_FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

logger = logging.getLogger("otel_queue_plugins")


class Lane:
    """One signal to one backend. `lost` is told reason and number of what will not arrive.

    `export` sends a batch and returns whether it arrived; `resource` is that of this process.
    """

    def __init__(
        self,
        exporter: object,
        export: Callable[[list[Any]], bool],
        resource: bytes,
        *,
        batch: int,
        delay: float,
        most: int,
        lost: Callable[[str, int], None],
    ) -> None:
        self.exporter = exporter  # to be found before a fork
        self._export = export
        self._resource = resource
        self._batch = batch
        self._delay = delay
        self._most = most
        self._lost = lost
        self._queue: deque[tuple[bytes, bytes, bytes]] = deque()
        self._exporting = threading.Lock()
        self._wake = threading.Event()
        self._on_their_way = 0

    def put(self, scope: bytes, field: bytes) -> None:
        """Of this process."""
        self.put_all(None, ((scope, field),))

    def put_all(self, resource: bytes | None, records: Iterable[tuple[bytes, bytes]]) -> None:
        """`resource` is None for that of this process. Never waits; the oldest have to go."""
        queue, origin = self._queue, resource or self._resource
        for scope, field in records:
            queue.append((origin, scope, field))
        if len(queue) >= self._batch:
            if len(queue) > self._most:
                self._lost(QUEUE_FULL, len(_taken(queue, len(queue) - self._most)))
            self._wake.set()

    def waiting(self) -> int:
        """How many are queued or on their way."""
        return len(self._queue) + self._on_their_way

    def run(self) -> None:
        """Send for ever, a batch when it is full or so many seconds after the last one."""
        while True:
            self._wake.wait(self._delay)
            self._wake.clear()
            self.flush(self._delay)

    def flush(self, seconds: float) -> bool:
        """Send what is queued by now; whether that was done. May take as long as a request does."""
        deadline = time.monotonic() + seconds
        if not self._exporting.acquire(timeout=seconds):
            return False
        try:
            left = len(self._queue)
            while left > 0 and self._queue and time.monotonic() < deadline:
                left -= self._send(_taken(self._queue, self._batch))
            return left <= 0 or not self._queue
        finally:
            self._exporting.release()

    def _send(self, batch: list[Any]) -> int:
        self._on_their_way = len(batch)
        has_arrived = False
        try:
            with quietly():
                has_arrived = self._export(batch)
        except Exception:
            logger.exception("telemetry could not be sent")
        finally:
            self._on_their_way = 0
            if not has_arrived:
                self._lost(EXPORT_FAILED, len(batch))
        return len(batch)


@contextmanager
def quietly() -> Iterator[None]:
    """What is done inside is not traced: others would trace the requests."""
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
    token = context.attach(context.set_value(key, value=True))
    try:
        yield
    finally:
        context.detach(token)


def _taken(queue: deque[Any], most: int) -> list[Any]:
    """The oldest of `queue`. Another thread may take some at the same time."""
    taken: list[Any] = []
    try:
        while len(taken) < most:
            taken.append(queue.popleft())
    except IndexError:
        pass
    return taken
