"""Keep all threads out of gRPC while this process forks.

gRPC prepares for a fork only if no thread is inside it. After a fork in the middle of a call, about
one child in 350 found a lock of gRPC's core that nobody will release, and never exported anything.
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

# Seconds in which a call usually ends by itself, unless the collector hangs.
_SECONDS_TO_END = 0.03
_SECONDS_TO_CANCEL = 0.2
_PACKAGE = f"{os.sep}grpc{os.sep}"
_interrupted: list[Any] = []


def pause() -> None:
    """Before a fork: wait for calls of OTLP exporters to end, and cancel those that do not.

    The exporter itself repeats a cancelled call a second later.
    """
    if "grpc" not in sys.modules or not _wait_until_outside(_SECONDS_TO_END):
        return
    for exporter in _exporters_inside():
        _interrupted.append(exporter)
        exporter._channel.close()
    _wait_until_outside(_SECONDS_TO_CANCEL)


def resume() -> None:
    """In the parent, after the fork: make a new channel for each exporter that was cancelled."""
    while _interrupted:
        _interrupted.pop()._initialize_channel_and_stub()


def forget() -> None:
    """In the child, after the fork: forget the parent's cancelled calls."""
    _interrupted.clear()


def _wait_until_outside(seconds: float) -> list[Any]:
    """Wait for at most so many seconds; return the exporters with a call that goes on."""
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
        caller = frame.f_locals.get("self")
        if callable(getattr(caller, "_initialize_channel_and_stub", None)):
            return caller
        frame = frame.f_back
    return None
