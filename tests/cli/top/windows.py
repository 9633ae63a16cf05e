"""A terminal of the test's own, in which the command runs as a process."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Final

from tests.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WINDOW_S = 60.0


# By the program itself: a function between fork and exec is a fork to those who watch for one.
TAKE_TERMINAL: Final = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
RUN: Final = (
    "import runpy; runpy.run_module("
    "'otel_queue_plugins.cli.main', run_name='__main__', alter_sys=True)"
)


class Window:
    """A terminal in which `otel-queue top` runs."""

    def __init__(
        self,
        *arguments: str,
        is_controlling: bool = True,
        env: Mapping[str, str] = os.environ,
        cwd: Path = ROOT,
    ) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL * is_controlling + RUN, "top", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**env, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(slave)
        self.shown = b""
        self._is_open = True

    def wait_for(self, text: bytes) -> None:
        """Read until `text` was drawn."""
        deadline = time.monotonic() + WINDOW_S
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self._master], [], [], 1.0)[0]:
                self.shown += os.read(self._master, 1 << 16)

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    def close(self) -> None:
        """Close the window."""
        if self._is_open:
            self._is_open = False
            os.close(self._master)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        deadline = time.monotonic() + WINDOW_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown
            if self._is_open and select.select([self._master], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self._master, 1 << 16)
                except OSError:  # the other end is closed
                    self.close()
        return self.process.returncode
