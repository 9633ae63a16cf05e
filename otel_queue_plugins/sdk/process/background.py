"""Run work in the background that the process does not have to wait for.

During its shutdown Python 3.12 starts no thread any more; threads that exist go on. So there they
are started before.
"""

from __future__ import annotations

import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NEEDS_POOL = sys.version_info[:2] == (3, 12)
_THREADS = 3  # one for the flush of each signal


class Work:
    """Work in the background; an exception that it raises is dropped."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._done = threading.Event()

    def run(self) -> None:
        """Do the work in this thread."""
        try:
            self._act()
        except Exception:  # noqa: BLE001 - the SDK has logged it
            return
        finally:
            self._done.set()

    def abandon(self) -> None:
        """Count the work as done, so that nobody waits for it."""
        self._done.set()

    def is_going_on(self) -> bool:
        """Whether the work is not done yet."""
        return not self._done.is_set()

    def wait(self, seconds: float) -> None:
        """Wait until the work is done, for at most so many seconds."""
        self._done.wait(seconds)


class ThreadPool:
    """Daemon threads of this process that wait for work."""

    def __init__(self) -> None:
        self._pid = 0
        self._works: SimpleQueue[Work] = SimpleQueue()

    def prepare(self) -> None:
        """Start the threads, once in each process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._works = SimpleQueue()
            for _ in range(_THREADS):
                threading.Thread(target=self._serve, args=(self._works,), daemon=True).start()

    def submit(self, work: Work) -> None:
        """Hand over `work`; in a process without threads it is abandoned."""
        if self._pid == os.getpid():
            self._works.put(work)
        else:
            work.abandon()

    @staticmethod
    def _serve(works: SimpleQueue[Work]) -> None:
        while True:
            works.get().run()


_pool = ThreadPool()


def prepare_for_shutdown() -> None:
    """Make `start` usable in this process during the shutdown of the interpreter."""
    if _NEEDS_POOL:
        _pool.prepare()


def start(act: Callable[[], object]) -> Work:
    """Start `act` in the background. The process may end before it is done."""
    work = Work(act)
    try:
        threading.Thread(target=work.run, name="otel-queue-flush", daemon=True).start()
    except RuntimeError:
        _pool.submit(work)
    return work
