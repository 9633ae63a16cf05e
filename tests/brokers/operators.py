"""`otel-queue` as an operator runs it: a process of its own, in the environment of an app."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COMMAND = [sys.executable, "-m", "otel_queue_plugins.cli.main"]
START_S = 30.0  # what a busy machine needs to start an interpreter and end it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended, what it wrote, and the seconds that it took."""

    code: int
    out: str
    err: str
    took: float

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        assert self.code in {0, 1}, self.err
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Runs commands about the queues that `target` names. No output may have `secret` in it."""

    target: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    secret: str = "guest:guest"  # noqa: S105 - RabbitMQ's default

    def __call__(self, *arguments: str) -> Ran:
        begun = time.monotonic()
        done = subprocess.run(
            [*COMMAND, *arguments, *self.target],
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert self.secret not in done.stdout + done.stderr
        took = time.monotonic() - begun
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr, took=took)

    def json(self, *arguments: str) -> Any:
        """The document of a command that ends well."""
        done = self(*arguments, "--json")
        assert done.code == 0, done.err
        return done.document
