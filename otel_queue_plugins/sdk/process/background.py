"""Work that can be left behind: in a thread of its own, or in one that stands by for it.

While an interpreter ends, Python 3.12 starts no thread any more, but lets those run that are there.
"""

from __future__ import annotations

import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NEEDED = sys.version_info[:2] == (3, 12)
_SIGNALS = 3


class Work:
    """Something being done in the background; whatever it raises is dropped."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._done = threading.Event()

    def run(self) -> None:
        """Do it, here and now."""
        try:
            self._act()
        except Exception:  # noqa: BLE001 - the SDK has said why
            return
        finally:
            self._done.set()

    def abandon(self) -> None:
        """Let nobody wait for it."""
        self._done.set()

    def is_going_on(self) -> bool:
        """Whether it is not done yet."""
        return not self._done.is_set()

    def wait(self, seconds: float) -> None:
        """Until it is done, or so many seconds."""
        self._done.wait(seconds)


class StandBy:
    """Threads of this process that wait for work until the very end."""

    def __init__(self) -> None:
        self._pid = 0
        self._works: SimpleQueue[Work] = SimpleQueue()

    def prepare(self) -> None:
        """Have them in this process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._works = SimpleQueue()
            for _ in range(_SIGNALS):
                threading.Thread(target=self._serve, args=(self._works,), daemon=True).start()

    def take(self, work: Work) -> None:
        """Do `work` soon; not at all in a process that has not prepared."""
        if self._pid == os.getpid():
            self._works.put(work)
        else:
            work.abandon()

    @staticmethod
    def _serve(works: SimpleQueue[Work]) -> None:
        while True:
            works.get().run()


_stand_by = StandBy()


def prepare_for_the_end() -> None:
    """Make `start` work in this process while the interpreter ends."""
    if _NEEDED:
        _stand_by.prepare()


def start(act: Callable[[], object]) -> Work:
    """Begin with `act`; the process may end before it is done."""
    work = Work(act)
    try:
        threading.Thread(target=work.run, name="otel-queue-flush", daemon=True).start()
    except RuntimeError:
        _stand_by.take(work)
    return work
