"""Which of the processes of one worker serves: one at a time, and another when that has ended.

Over a Unix socket without a place in the file system (unix(7), "abstract"), which only Linux has.
The kernel closes it with its process, however that ends.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_MOST_WAITING: Final = 64
_PAUSE: Final = 0.1
_ENDED: Final = ("Z", "X")  # the parent has not asked yet: proc(5)


def wait_for_turn(is_closed: Callable[[], bool]) -> socket.socket | None:
    """Wait until no other process serves; the socket to keep while this one does.

    None if `is_closed` says so meanwhile. Raises OSError where there are no such sockets.
    """
    while not is_closed():
        turn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            turn.bind(_name())
            turn.listen(_MOST_WAITING)
        except OSError:
            turn.close()
            if not Path("/proc/self/ns/net").exists():
                raise
            _wait_for_end_of_other()
        else:
            return turn
    return None


def is_sibling(pid: int) -> bool:
    """Whether a process with the parent of this one has that pid and has not ended (Linux)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    state, parent, *_ = status.rpartition(")")[2].split()
    return state not in _ENDED and int(parent) == os.getppid()


def _wait_for_end_of_other() -> None:
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.connect(_name())
        other.recv(1)
    time.sleep(_PAUSE)


def _name() -> str:
    return f"\0otel-queue/{os.getuid()}/{os.getppid()}/http"
