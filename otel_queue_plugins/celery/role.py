"""What a process is to Celery, told from the calls in progress.

Signals say it, too, but only to who listened before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, Final, Literal, NamedTuple

Kind = Literal["worker", "pool process", "beat"]


class Role(NamedTuple):
    """`worker` is the `WorkController` that the process is the main one of.

    `runs_here` tells whether this thread is the one that runs it. `kind` is None in a process that
    is nothing to Celery, such as a producer.
    """

    kind: Kind | None = None
    worker: Any = None
    runs_here: bool = False


class _Place(NamedTuple):
    """A class whose methods a process of that kind is in, or the one method."""

    kind: Kind
    owner: str
    method: str | None


_PLACES: Final[Mapping[str, _Place]] = {
    "celery.worker.worker": _Place("worker", "WorkController", None),
    "billiard.pool": _Place("pool process", "Worker", "__call__"),
    "celery.beat": _Place("beat", "Service", "start"),
}


def current() -> Role:
    """The role of this process. One that was forked is what it became after that."""
    found = _of(sys._getframe(1))  # noqa: SLF001 - the frames of a thread have no public name
    if found.kind is not None:
        return found
    others = list(sys._current_frames().values())  # noqa: SLF001 - likewise
    workers = (role.worker for role in map(_of, others) if role.kind == "worker")
    worker = next(workers, None)
    return Role("worker", worker) if worker is not None else found


def _of(innermost: FrameType) -> Role:
    """What the calls of a thread say; the innermost counts."""
    for frame in _calls(innermost):
        place, owner = _place(frame)
        if place is not None:
            worker = owner if place.kind == "worker" else None
            return Role(place.kind, worker, worker is not None and _has_started(frame))
    return Role()


def _calls(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frame: FrameType) -> tuple[_Place | None, Any]:
    """The place that `frame` is a call in, and the object that it is a method of."""
    module = frame.f_globals.get("__name__", "")
    place = _PLACES.get(module)
    if place is None or place.method not in (None, frame.f_code.co_name):
        return None, None
    kind, owner = getattr(sys.modules.get(module), place.owner, ()), frame.f_locals.get("self")
    return (place, owner) if isinstance(owner, kind) else (None, None)


def _has_started(frame: FrameType) -> bool:
    """Whether `WorkController.start` is one of the calls around `frame`."""
    return any(_place(outer)[0] and outer.f_code.co_name == "start" for outer in _calls(frame))
