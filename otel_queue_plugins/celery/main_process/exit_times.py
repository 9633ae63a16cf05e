"""The time at which a task ended whose process died.

The main process notices late: when billiard looks, when the child has cleaned up and flushed, or
when the broker can be reached again. By then another worker may run the message already.
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
_SLOT: Final = struct.Struct("=dQ")


class ExitTimes:
    """Memory that pool processes share with the main process that has forked them.

    A pool process that leaves a delivery to its parent writes the time (seconds since the epoch)
    and the id of the process span into a slot of its own. Pool processes that were not forked do
    not share it.
    """

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None

    @never_raises(do_nothing)
    def share(self) -> None:
        """Allocate the memory. Processes that are forked after this share it."""
        if self._memory is None:
            self._memory = mmap.mmap(-1, _SLOTS * _SLOT.size)

    @never_raises(do_nothing)
    def write(self, span_id: int | None) -> None:
        """Write that this pool process leaves the delivery with that span now."""
        index = getattr(current_process(), "index", _SLOTS)
        if self._memory is not None and span_id is not None and index < _SLOTS:
            _SLOT.pack_into(self._memory, index * _SLOT.size, time.time(), span_id)

    def are_shared(self) -> bool:
        """Whether pool processes of this process share the memory."""
        return self._memory is not None and get_start_method() == "fork"

    def read(self, span_id: int | None) -> float | None:
        """Return when a pool process left that delivery; None if it has not written so."""
        if self._memory is None or span_id is None:
            return None
        slots = _SLOT.iter_unpack(self._memory)
        return next((left_at for left_at, written in slots if written == span_id), None)


def time_limit_reached_at(request: Any, error: object) -> float | None:
    """Return when `request` reached its time limit; None if `error` is another one."""
    if not isinstance(error, TimeLimitExceeded) or not request.time_start:
        return None
    limit = error.args[0] if error.args else None
    return request.time_start + limit if isinstance(limit, (int, float)) else None


def loss_noticed_at(job: Any) -> float | None:
    """Return when the pool noticed that the process of `job` was gone; None if unknown.

    The pool waits some seconds more before it reports the loss.
    """
    noticed = getattr(job, "_worker_lost", None)
    if not isinstance(noticed, tuple) or not isinstance(noticed[0], float):
        return None
    return time.time() - (time.monotonic() - noticed[0])
