"""The processes of the demo: in groups of their own, logging to files, never left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from otel_queue_plugins.cli.demo.failure import DemoError

_TAIL_LINES = 12
_LOOK_EVERY_S = 0.05
_KILL_WAIT_S = 5.0


class Child:
    """A running command. Its output goes to `log`."""

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - commands of our own
                command,
                env=env,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also the group id."""
        return self._process.pid

    def wait_until_logged(self, pattern: str, deadline: float) -> None:
        """Wait for a line that matches `pattern`. Raises DemoError at `deadline` (monotonic)."""
        while not re.search(pattern, self._text(), re.MULTILINE):
            self.check_alive()
            if time.monotonic() > deadline:
                raise self.error("was not ready in time")
            time.sleep(_LOOK_EVERY_S)

    def wait_for_success(self, deadline: float) -> None:
        """Wait for the end. Raises DemoError if that is an error, or not there at `deadline`."""
        try:
            returncode = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self.error("did not end in time") from None
        if returncode:
            raise self.error(f"ended with exit code {returncode}")

    def check_alive(self) -> None:
        """Raises DemoError if the command has ended."""
        if self._process.poll() is not None:
            raise self.error(f"ended with exit code {self._process.returncode}")

    def error(self, what: str) -> DemoError:
        """A DemoError about this process that ends with its log."""
        return DemoError(f"the {self.name} {what}", self.tail())

    def tail(self) -> tuple[str, ...]:
        """The last lines of the log under a headline; nothing if there are none."""
        lines = self._text().splitlines()[-_TAIL_LINES:]
        return (f"end of the {self.name}'s log:", *(f"  {line}" for line in lines)) if lines else ()

    def stop(self, grace: float) -> None:
        """Ask the command to end, and after `grace` seconds kill all of its group."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(grace)
        except subprocess.TimeoutExpired:
            return
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(_KILL_WAIT_S)

    def _text(self) -> str:
        return self._log.read_text(errors="replace")


@contextmanager
def running(
    name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, grace: float
) -> Iterator[Child]:
    """A child that is stopped at the end, however that comes."""
    child = Child(name, command, env=env, log=log)
    try:
        yield child
    finally:
        child.stop(grace)
