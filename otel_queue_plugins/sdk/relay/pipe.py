"""The pipe that leads from the processes of a worker to the one that exports.

Who writes never waits: what does not fit is not taken. A write of up to `PART` bytes is atomic
(pipe(7), `PIPE_BUF`), so any number of processes may write at once.
"""

from __future__ import annotations

import fcntl
import os
import select
from typing import Final

PART: Final = min(4096, select.PIPE_BUF)
_CAPACITY: Final = 1 << 20
_MOST_READ: Final = 1 << 18
# Linux; Python names it since 3.10. Elsewhere a pipe has the size it has.
_SET_SIZE: Final = getattr(fcntl, "F_SETPIPE_SZ", None)


class Pipe:
    """Both ends, neither of which blocks. Raises OSError where there can be none."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        for end in (self._read_end, self._write_end):
            os.set_blocking(end, False)
        self._enlarge()
        self._identity = _identity(self._write_end)

    def _enlarge(self) -> None:
        """To what an unprivileged process may have at most, if it may."""
        try:
            if _SET_SIZE is not None:
                fcntl.fcntl(self._write_end, _SET_SIZE, _CAPACITY)
        except OSError:
            return

    def is_there(self) -> bool:
        """Whether the descriptor still is this pipe.

        A process that makes a daemon of itself closes all descriptors, and the number may be that
        of somebody's socket by then.
        """
        return _identity(self._write_end) == self._identity

    def write(self, part: bytes) -> bool:
        """Whether all of `part` was taken; if not, nothing was.

        Raises OSError when there is no one to read it.
        """
        try:
            os.write(self._write_end, part)
        except BlockingIOError:
            return False
        return True

    def wait_for_room(self, seconds: float) -> None:
        """Until more may be taken, or so many seconds."""
        poll = select.poll()
        poll.register(self._write_end, select.POLLOUT)
        poll.poll(max(0.0, seconds) * 1000)

    def read(self) -> bytes:
        """What is there, up to a quarter of a MiB; nothing if nothing is."""
        try:
            return os.read(self._read_end, _MOST_READ)
        except BlockingIOError:
            return b""

    def wait_for_content(self, seconds: float) -> bool:
        """Whether there is something to read, by then at the latest."""
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
