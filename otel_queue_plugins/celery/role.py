"""The role of this process in Celery, found in the calls in progress.

For a process that is instrumented after Celery has sent the signals of its start.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, Final, Literal, NamedTuple

Kind = Literal["worker", "pool process", "beat"]


class Role(NamedTuple):
    """The role of a process; `kind` is None in one that has none, such as a producer.

    `worker` is the `WorkController` of a main process. `in_this_thread` is True if the current
    thread runs it.
    """

    kind: Kind | None = None
    worker: Any = None
    in_this_thread: bool = False


class _Caller(NamedTuple):
    """The class whose methods a process of that kind runs in; `method` is None for any of them."""

    kind: Kind
    owner: str
    method: str | None


_CALLERS: Final[Mapping[str, _Caller]] = {
    "celery.worker.worker": _Caller("worker", "WorkController", None),
    "billiard.pool": _Caller("pool process", "Worker", "__call__"),
    "celery.beat": _Caller("beat", "Service", "start"),
}


def current() -> Role:
    """Return the role of this process. That of a forked process is not that of its parent."""
    role = _of(sys._getframe(1))  # noqa: SLF001 - the frames of a thread have no public name
    if role.kind is not None:
        return role
    others = _innermost_frames()
    workers = (each.worker for each in map(_of, others) if each.kind == "worker")
    worker = next(workers, None)
    return Role("worker", worker) if worker is not None else role


def _innermost_frames() -> list[FrameType]:
    # Python holds a lock of its own meanwhile; a garbage collection then may wait for it for ever.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return list(sys._current_frames().values())  # noqa: SLF001 - likewise
    finally:
        if was_enabled:
            gc.enable()


def _of(innermost: FrameType) -> Role:
    """Return the role in the calls of a thread; the innermost wins."""
    for frame in _calls(innermost):
        caller, owner = _caller(frame)
        if caller is not None:
            worker = owner if caller.kind == "worker" else None
            return Role(caller.kind, worker, worker is not None and _has_started(frame))
    return Role()


def _calls(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _caller(frame: FrameType) -> tuple[_Caller | None, Any]:
    """Return the entry of `_CALLERS` for the method in `frame`, and the object of the method."""
    module = frame.f_globals.get("__name__", "")
    caller = _CALLERS.get(module)
    if caller is None or caller.method not in (None, frame.f_code.co_name):
        return None, None
    owner_type, owner = (
        getattr(sys.modules.get(module), caller.owner, ()),
        frame.f_locals.get("self"),
    )
    return (caller, owner) if isinstance(owner, owner_type) else (None, None)


def _has_started(frame: FrameType) -> bool:
    """Whether `WorkController.start` is one of the calls around `frame`."""
    return any(_caller(outer)[0] and outer.f_code.co_name == "start" for outer in _calls(frame))
