"""Real processes for tests: started in a group of their own, watched by log, never left behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tests.environment import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN_LINES = 200
_DUMP_S = 1.0
_CHILDREN_DUMP_S = 0.5
_LONG_S = 60
_LAST_LINES_S = 1.0


class ProcessError(AssertionError):
    """A process did not do what was expected of it in time; the text ends with its log."""


class ManagedProcess:
    """A running command. `log` has its stdout and stderr, also those of its children."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.started_at = time.monotonic()
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._returncode: int | None = None
        self._log_ended = False
        self._process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._reader = threading.Thread(target=self._read_log, name=f"{name}-log", daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, name=f"{name}-end", daemon=True).start()

    @property
    def pid(self) -> int:
        """The pid of the command, which is also its process group."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe to the command; only with `stdin=PIPE`."""
        if self._process.stdin is None:
            raise ProcessError(f"{self.name} was started without a pipe")
        return self._process.stdin

    @property
    def returncode(self) -> int | None:
        """How the command ended (negative: by that signal); None while it runs."""
        with self._changed:
            return self._returncode

    @property
    def log(self) -> str:
        """Everything written so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for_log(self, pattern: str, *, count: int = 1, timeout: float = 60) -> None:
        """Wait until `count` lines match the regular expression `pattern`."""
        matches = re.compile(pattern).search

        def seen() -> bool:
            return sum(1 for line in self._lines if matches(line)) >= count

        with self._changed:
            self._changed.wait_for(lambda: seen() or self._log_ended, timeout)
            if seen():
                return
        if timeout >= _LONG_S:
            self._dump_stacks()
        raise self._error(f"did not log {pattern!r} {count} time(s) in {timeout:g} s")

    def wait_for_sleep(self, timeout: float = 60) -> None:
        """Wait until the main thread of the command sleeps in the kernel, or has ended (Linux).

        A signal that comes right before that, after Python has looked for signals last, is handled
        when the sleep is over: https://docs.python.org/3/library/signal.html.
        """
        status = Path(f"/proc/{self.pid}/stat")
        deadline = time.monotonic() + timeout
        while self.returncode is None:
            with suppress(OSError):
                if status.read_text().rpartition(")")[2].split()[0] in "SZ":
                    return
            if time.monotonic() > deadline:
                raise self._error(f"did not sleep within {timeout:g} s")
            time.sleep(0.005)

    def wait(self, timeout: float = 60) -> int:
        """Wait for the end of the command; its return code."""
        with self._changed:
            self._changed.wait_for(lambda: self._returncode is not None, timeout)
            if self._returncode is not None:
                return self._returncode
        self._dump_stacks()
        raise self._error(f"still ran after {timeout:g} s")

    def wait_for_log_end(self, timeout: float = 30) -> None:
        """Wait until no process holds the log open: every child is gone too."""
        with self._changed:
            if self._changed.wait_for(lambda: self._log_ended, timeout):
                return
        raise self._error(f"had children alive after {timeout:g} s")

    def send_signal(self, number: int) -> None:
        """Send a signal to the command only, not to its children."""
        with self._changed:
            if self._returncode is None:
                os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM, *, timeout: float = 60) -> int:
        """Signal the command and wait for its end; its return code."""
        self.send_signal(number)
        returncode = self.wait(timeout)
        self.wait_for_log_end()
        return returncode

    def kill(self) -> None:
        """Kill whatever is left of the process group. Nothing to kill is no error."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with self._changed:
            self._changed.wait_for(lambda: self._log_ended and self._returncode is not None, 5)

    def children(self) -> list[int]:
        """Pids of the direct children, oldest first (Linux)."""
        pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in pids]

    def tail(self, lines: int = _SHOWN_LINES) -> str:
        """The end of the log."""
        with self._changed:
            return "".join(self._lines[-lines:])

    def _error(self, what: str) -> ProcessError:
        state = "runs" if self.returncode is None else f"ended with {self.returncode}"
        return ProcessError(f"{self.name} {what} ({state})\n{self.tail()}")

    def _dump_stacks(self) -> None:
        """Let the children, and then the command, write where they stand to the log, and end."""
        with suppress(OSError):
            for child in self.children():
                os.kill(child, signal.SIGABRT)
        time.sleep(_CHILDREN_DUMP_S)
        self.send_signal(signal.SIGABRT)
        with self._changed:
            self._changed.wait_for(lambda: self._log_ended, _DUMP_S)
        self.kill()

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as log:
            for line in log:
                with self._changed:
                    self._lines.append(line.decode(errors="replace"))
                    self._changed.notify_all()
        with self._changed:
            self._log_ended = True
            self._changed.notify_all()

    def _await_end(self) -> None:
        returncode = self._process.wait()
        # Who waits for the end may read the log then. A child that lives on keeps it open.
        self._reader.join(_LAST_LINES_S)
        with self._changed:
            self._returncode = returncode
            self._changed.notify_all()


class Processes:
    """Every process of one scope; `close` leaves none of them alive."""

    def __init__(self) -> None:
        self._all: list[ManagedProcess] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> ManagedProcess:
        """Start `command`; without `env` in `clean_environment()`."""
        process = ManagedProcess(
            name,
            command,
            env=clean_environment() if env is None else env,
            cwd=cwd,
            stdin=stdin,
            pass_fds=pass_fds,
        )
        self._all.append(process)
        return process

    def python(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        name: str = "python",
    ) -> ManagedProcess:
        """Start this interpreter."""
        return self.start(name, [sys.executable, *arguments], env=env, cwd=cwd)

    @property
    def last(self) -> ManagedProcess:
        """The one that was started last."""
        return self._all[-1]

    def logs(self) -> list[tuple[str, str]]:
        """A title and the end of the log of each process that wrote one."""
        return [
            (f"log of {process.name} (pid {process.pid}, returncode {process.returncode})", tail)
            for process in self._all
            if (tail := process.tail())
        ]

    def close(self) -> None:
        """Kill all that is left, the last started first, and forget it."""
        while self._all:
            self._all.pop().kill()


def wait_for_end(*pids: int, timeout: float = 30) -> None:
    """Wait until none of these processes runs, whoever their parent is (Linux)."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], timeout)[0]:
                raise ProcessError(f"process {pid} still ran after {timeout:g} s")
        finally:
            os.close(handle)
