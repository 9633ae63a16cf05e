"""The process that exports takes what the others have handed over.

In a thread that lets much come together: to wake up for each task would take the interpreter from
the main thread each time, which feeds all the others. Whoever has to know what a process had to say
before it died may read at once (`drain`).
"""

from __future__ import annotations

import logging
import marshal
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.sdk.relay.parts import Assembly, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.sdk.relay.lanes import Lane
    from otel_queue_plugins.sdk.relay.parts import Source
    from otel_queue_plugins.sdk.relay.pipe import Pipe
    from otel_queue_plugins.sdk.relay.replay import Replay

logger = logging.getLogger("otel_queue_plugins")

_TOGETHER: Final = 0.03  # seconds between a first message and reading
_IDLE: Final = 60.0
_LONGEST_WAIT: Final = 1.0
_MOST_ENDED: Final = 8192
_MOST_SOURCES: Final = 64

Records = list[tuple[bytes, bytes]]
"""Scope and field of each, encoded."""


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
        self._most_sources = _MOST_SOURCES
        self._ended: deque[bytes] = deque(maxlen=_MOST_ENDED)
        self._lock = threading.RLock()

    def has_ended(self, span_id: int) -> bool:
        """Whether the process that ran the delivery with this span has recorded its end."""
        self.drain()
        ended, key = b"".join(self._ended), span_id.to_bytes(8, "big")
        at = ended.find(key)
        while at % 8 and at > 0:  # across two others
            at = ended.find(key, at + 1)
        return at >= 0

    def drain(self, wait: float = _LONGEST_WAIT) -> bool:
        """Take all that is there. Not if somebody else does for longer than `wait` seconds."""
        if not self._lock.acquire(timeout=wait):
            return False
        try:
            dead = self._dead()  # all that they have written is in the pipe by now
            if self._replay is not None:
                self._replay.set_clock()
            while received := self._pipe.read():
                self._take(received)
            for source in dead:
                self._forget(source)
        finally:
            self._lock.release()
        return True

    def settle(self, wait: float = _LONGEST_WAIT) -> None:
        """`drain`, and record what others have measured. For who reads metrics next."""
        if self._replay is not None and self.drain(wait):
            with self._lock:
                self._replay.settle()

    def run(self) -> None:
        """Read for ever."""
        while True:
            if self._pipe.wait_for_content(_IDLE):
                time.sleep(_TOGETHER)
                self.drain()

    def _dead(self) -> list[Source]:
        """Processes that have ended, if there are many to remember."""
        sources = {*self._assembly.sources(), *(self._replay.sources() if self._replay else ())}
        if len(sources) < self._most_sources:
            return []
        dead = [source for source in sources if not is_alive(source)]
        self._most_sources = max(_MOST_SOURCES, 2 * (len(sources) - len(dead)))
        return dead

    def _forget(self, source: Source) -> None:
        self._assembly.forget(source)
        if self._replay is not None:
            self._replay.forget(source)

    def _take(self, received: bytes) -> None:
        for source, message in self._assembly.add(received):
            try:
                self._apply(source, *marshal.loads(message))  # noqa: S302 - from our own children
            except Exception:  # noqa: PERF203 - the next one is another process's
                logger.exception("what process %s has handed over could not be used", source[0])

    def _apply(
        self,
        source: Source,
        spans: Records | None,
        logs: Records | None,
        defined: Any,
        packed: Any,
        repeated: Any,
        ended: bytes,
        dropped: int,
        resource: bytes | None,
    ) -> None:
        if spans:
            for lane in self._spans:
                lane.put_all(resource, spans)
        if logs:
            for lane in self._logs:
                lane.put_all(resource, logs)
        if ended:
            self._ended.append(ended)
        if dropped:
            self._dropped(dropped)
        if self._replay is not None:
            self._replay.take(source, defined, packed, repeated)
