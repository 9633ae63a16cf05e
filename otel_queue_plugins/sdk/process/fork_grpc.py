"""No thread inside gRPC while this process forks.

gRPC gets itself ready for a fork only when nobody is inside it; forked in the middle of a call,
about one child in 350 met a lock of gRPC's core that nobody will release, and was mute for ever.
"""

from __future__ import annotations

# ruff: noqa: SLF001 - neither the exporter nor Python has a public way
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

# A call usually ends by itself within this; one that waits for a hanging collector does not.
_GRACE = 0.03
_LONGEST_CANCELLING = 0.2
_PACKAGE = f"{os.sep}grpc{os.sep}"
_interrupted: list[Any] = []


def pause() -> None:
    """Before a fork: let calls of OTLP exporters end; cancel those that do not.

    The exporter tries a cancelled call again a second later, by itself.
    """
    if "grpc" not in sys.modules or not _wait_until_outside(_GRACE):
        return
    for exporter in _exporters_inside():
        _interrupted.append(exporter)
        exporter._channel.close()
    _wait_until_outside(_LONGEST_CANCELLING)


def resume() -> None:
    """In the parent, after the fork: a new channel for each call that was cancelled."""
    while _interrupted:
        _interrupted.pop()._initialize_channel_and_stub()


def forget() -> None:
    """In the child, where no call goes on."""
    _interrupted.clear()


def _wait_until_outside(seconds: float) -> list[Any]:
    """The exporters still inside after that time."""
    deadline = time.monotonic() + seconds
    while (inside := _exporters_inside()) and time.monotonic() < deadline:
        time.sleep(0.001)
    return inside


def _exporters_inside() -> list[Any]:
    own = threading.get_ident()
    frames = sys._current_frames()
    found = (_exporter_of(frame) for thread, frame in frames.items() if thread != own)
    return [exporter for exporter in found if exporter is not None]


def _exporter_of(innermost: FrameType) -> Any:
    frame: FrameType | None = innermost
    if _PACKAGE not in innermost.f_code.co_filename:
        return None
    while frame is not None:
        who = frame.f_locals.get("self")
        if callable(getattr(who, "_initialize_channel_and_stub", None)):
            return who
        frame = frame.f_back
    return None
