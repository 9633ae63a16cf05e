"""When a task ended that its process did not survive, as near as anybody knows it.

The main process hears of it late: when billiard looks, when a child is done with its clean-up and
its flush, when the broker can be reached again. By then the message may run elsewhere.
"""

from __future__ import annotations

import mmap
import struct
import time
from typing import Any, Final

from billiard import get_start_method
from billiard.exceptions import TimeLimitExceeded
from billiard.process import current_process

from otel_queue_plugins.core.safety import do_nothing, never_raises

_SLOTS: Final = 1024
_NOTE: Final = struct.Struct("=dQ")


class Exits:
    """What children note of the tasks that a signal ended, for the process that forked them.

    A child writes the time (seconds since the epoch) and the id of the delivery's span into a slot
    of its own, in memory that it shares with its parent. What a child that was not forked notes,
    nobody reads.
    """

    def __init__(self) -> None:
        self._notes: mmap.mmap | None = None

    @never_raises(do_nothing)
    def share(self) -> None:
        """Children that are forked from now on can note something."""
        if self._notes is None:
            self._notes = mmap.mmap(-1, _SLOTS * _NOTE.size)

    @never_raises(do_nothing)
    def note(self, span_id: int | None) -> None:
        """This child leaves the task of that delivery, to be recorded by its parent."""
        slot = getattr(current_process(), "index", _SLOTS)
        if self._notes is not None and span_id is not None and slot < _SLOTS:
            _NOTE.pack_into(self._notes, slot * _NOTE.size, time.time(), span_id)

    def are_noted(self) -> bool:
        """Whether the children of this process can note something."""
        return self._notes is not None and get_start_method() == "fork"

    def noted(self, span_id: int | None) -> float | None:
        """When a child left the task of that delivery, None if it did not say so."""
        if self._notes is None or span_id is None:
            return None
        notes = _NOTE.iter_unpack(self._notes)
        return next((left_at for left_at, noted in notes if noted == span_id), None)


def time_is_up(request: Any, error: object) -> float | None:
    """When `request` had used up its time, None if `error` says something else of it."""
    if not isinstance(error, TimeLimitExceeded) or not request.time_start:
        return None
    limit = error.args[0] if error.args else None
    return request.time_start + limit if isinstance(limit, (int, float)) else None


def loss_noticed(job: Any) -> float | None:
    """When the pool saw that the process of `job` was gone; it waits some more before it says so.

    None where it has not seen that, or does not tell.
    """
    noticed = getattr(job, "_worker_lost", None)
    if not isinstance(noticed, tuple) or not isinstance(noticed[0], float):
        return None
    return time.time() - (time.monotonic() - noticed[0])
