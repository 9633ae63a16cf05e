"""What is known while messages are moved: how many, whose, how fast, and when the last one was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import SpanContext
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from otel_queue_plugins.brokers.facts import StoredMessage
from otel_queue_plugins.cli.queues.audit import MAX_LINKS
from otel_queue_plugins.cli.queues.output import Output


class StoppedError(Exception):
    """The change was stopped between two messages."""


class Movement:
    """Called with each message that was moved, in the thread of the reader.

    `rate` is how many there may be in a second; None for as many as there can be.
    """

    def __init__(self, progress: Progress, *, total: int, rate: float | None = None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)
        self._total = total
        self._rate = rate
        self._begun = time.monotonic()
        self._stopped = threading.Event()
        self._last_active = self._begun
        self.done = 0
        self.creations: list[SpanContext] = []

    def __call__(self, message: StoredMessage) -> None:
        """Count `message`, and wait if it came too soon. Raises StoppedError after `stop`."""
        self.done += 1
        if message.creation and len(self.creations) < MAX_LINKS:
            self.creations.append(message.creation)
        self._progress.advance(self._task)
        self._wait()
        if self._stopped.is_set():
            raise StoppedError

    def last_active(self) -> float:
        """The time (of `time.monotonic`) of the last message, or until which the rate waits."""
        return self._last_active

    def stop(self) -> None:
        """End before the next message."""
        self._stopped.set()

    def _wait(self) -> None:
        now = time.monotonic()
        self._last_active = now
        if self._rate and self.done < self._total:
            self._last_active = max(now, self._begun + self.done / self._rate)
            self._stopped.wait(self._last_active - now)


@contextmanager
def shown(output: Output, *, total: int, rate: float | None = None) -> Iterator[Movement]:
    """A movement with a progress bar on stderr, if that is a terminal."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("messages"), TimeRemainingColumn())
    is_hidden = output.is_quiet or not output.notices.is_terminal
    with Progress(*columns, console=output.notices, transient=True, disable=is_hidden) as progress:
        yield Movement(progress, total=total, rate=rate)
