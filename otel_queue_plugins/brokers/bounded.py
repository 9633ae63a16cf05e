"""Calls that may hang, made in a thread that is given up when they do.

pika waits for a hung broker until its heartbeat fails, and nothing in the calling thread can stop
it. The thread ends when the call does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from otel_queue_plugins.brokers.on_rabbitmq.quiet_logs import THREAD_NAME
from otel_queue_plugins.core.api import suppression

_T = TypeVar("_T")


class _Call:
    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self.ended = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            self.error = error
        self.ended.set()


class BoundedThread:
    """Runs one call after the other. After a time-out it takes no more; make another one.

    `at_end` runs in the thread, when it is stopped or when the call that hung has ended.
    `when_idle` runs there each time that no call came for `idle_s` seconds; None is never.
    """

    def __init__(
        self,
        at_end: Callable[[], object],
        *,
        when_idle: Callable[[], object] = bool,
        idle_s: float | None = None,
    ) -> None:
        self._at_end = at_end
        self._when_idle = when_idle
        self._idle_s = idle_s
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def call(
        self,
        function: Callable[[], _T],
        timeout: float,
        *,
        last_active: Callable[[], float] | None = None,
    ) -> _T:
        """`function()`, or TimeoutError after `timeout` seconds; then this object is done for.

        With `last_active` (of `time.monotonic`) the seconds count from the time that it returns.
        """
        call, begun = _Call(function), time.monotonic()
        self._calls.put(call)

        def left() -> float:
            return (last_active() if last_active else begun) + timeout - time.monotonic()

        while not call.ended.wait(max(0.0, left())):
            if left() <= 0:
                self.stop()
                raise TimeoutError(f"no answer in {timeout:g} s")
        if call.error is not None:
            raise call.error
        result: _T = call.result
        return result

    def stop(self) -> None:
        """Let the thread end as soon as it can. Does not wait."""
        self._calls.put(None)

    def _run(self) -> None:
        suppression.suppress_in_empty_context()  # for as long as the thread lives
        while (call := self._next()) is not None:
            call.run()
        self._at_end()

    def _next(self) -> _Call | None:
        while True:
            with suppress(Empty):
                return self._calls.get(timeout=self._idle_s)
            self._when_idle()
