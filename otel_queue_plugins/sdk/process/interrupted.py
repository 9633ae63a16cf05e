"""A signal that interrupts a send, or a recording, is put off until that is done.

A flush in its handler would leave out the send whose message the broker has already, and wait in
vain for a lock of the SDK that the interrupted code holds.
"""

from __future__ import annotations

import _thread
import os
import sys
import time
from types import FrameType
from typing import Any, Final

_LONGEST: Final = 0.5  # seconds; a send may hang
_RECORDING: Final = (
    *(f"otel_queue_plugins.core.{room}." for room in ("verbs", "spans", "metrics")),
    "otel_queue_plugins.sdk.fastpath.",
    "opentelemetry.sdk.",
)
_OURS: Final = "otel_queue_plugins."
_SENDING: Final = ".sends"  # the module of an adapter whose wrappers are called for a send
_put_off: list[tuple[int, float]] = []  # the process, and until when


def put_off(number: int, frame: FrameType | None) -> bool:
    """Whether signal `number`, which has interrupted `frame`, will be sent again.

    That is when the send or the recording returns, or after half a second.
    """
    pid, now = os.getpid(), time.monotonic()
    if _put_off and _put_off[-1][0] == pid:
        return now < _put_off[-1][1]
    outermost = _outermost_busy(frame)
    if outermost is None or sys.gettrace() is not None:  # a debugger's, or that of coverage
        return False
    try:
        # `Thread.start` takes locks, and waits: not for a handler.
        _thread.start_new_thread(_send_later, (number,))
    except RuntimeError:  # the interpreter ends
        return False
    _put_off[:] = [(pid, now + _LONGEST)]
    _send_at_return(number, outermost)
    return True


def _send_later(number: int) -> None:
    time.sleep(_LONGEST)
    _send_unless_sent(number)


def _send_unless_sent(number: int) -> None:
    pid = os.getpid()
    if _put_off[-1][0] == pid and _put_off[-1][1]:
        _put_off[:] = [(pid, 0.0)]
        os.kill(pid, number)


def _send_at_return(number: int, outermost: FrameType) -> None:
    """With what debuggers use to stop when a function returns; it costs nothing before."""

    def at_event(_frame: FrameType, event: str, _arg: Any) -> Any:
        if event != "return":
            return at_event
        sys.settrace(None)
        _send_unless_sent(number)
        return None

    outermost.f_trace = at_event
    sys.settrace(lambda *_: None)


def _outermost_busy(frame: FrameType | None) -> FrameType | None:
    found = None
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name.startswith(_RECORDING) or (name.startswith(_OURS) and name.endswith(_SENDING)):
            found = frame
        frame = frame.f_back
    return found
