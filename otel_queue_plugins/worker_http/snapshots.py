"""Capture the state of a worker on request, in a thread, so that no request waits for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from otel_queue_plugins.core.safety import log_failure
from otel_queue_plugins.sdk import greenlets

T = TypeVar("T")

_POLL: Final = 0.005
_GREEN_POLL: Final = 0.02


class Snapshots(Generic[T]):
    """The latest result of `capture`, which may block and may raise."""

    def __init__(self, capture: Callable[[], T]) -> None:
        self._capture = capture
        self._wanted = threading.Event()
        self._captured = threading.Condition()
        self._is_green = greenlets.is_green()
        self._is_closed = self._is_wanted = False
        self._started = 0
        self._latest: tuple[int, T] | None = None

    def start(self) -> None:
        """Start the thread, which captures a first time at once.

        Under gevent and eventlet it is a greenlet of the main thread, as the locks of such a
        process are made for the greenlets of one thread.
        """
        self._want()
        threading.Thread(target=self._run, name="otel-queue-snapshots", daemon=True).start()

    def close(self) -> None:
        """Let the thread end."""
        self._is_closed = True
        if not self._is_green:
            self._wanted.set()

    def get(self, seconds: float) -> T | None:
        """A result that was begun after this call if it is done in time, else the latest.

        None if there is none yet.
        """
        deadline = time.monotonic() + seconds
        number = self._started
        self._want()

        def is_there() -> bool:
            return self._latest is not None and self._latest[0] > number

        if self._is_green:
            while not is_there() and time.monotonic() < deadline:
                time.sleep(_POLL)
        else:  # asleep only once: a thread that wakes up waits for tasks that burn processor time
            with self._captured:
                self._captured.wait_for(is_there, seconds)
        return None if self._latest is None else self._latest[1]

    def _want(self) -> None:
        self._is_wanted = True
        if not self._is_green:
            self._wanted.set()

    def _run(self) -> None:
        while not self._is_closed:
            self._wait()
            self._is_wanted = False
            self._started += 1
            number = self._started
            try:
                self._latest = (number, self._capture())
            except Exception:  # noqa: BLE001 - the next one may succeed
                log_failure("the capture of a worker's state")
            if not self._is_green:
                with self._captured:
                    self._captured.notify_all()

    def _wait(self) -> None:
        """Wait until a result is wanted.

        A greenlet cannot wait for another thread, so it looks fifty times a second.
        """
        if not self._is_green:
            self._wanted.wait()
            self._wanted.clear()
            return
        while not (self._is_wanted or self._is_closed):
            time.sleep(_GREEN_POLL)
