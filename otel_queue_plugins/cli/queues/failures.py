"""Reasons for an exit code other than 0, and what is written on stderr."""

from __future__ import annotations

import os
import sys
from typing import Final

from otel_queue_plugins.core.settings.problems import without_secrets

OK: Final = 0
WRONG: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
REFUSED: Final = 4
INTERRUPTED: Final = 130


class UsageError(Exception):
    """The command was used wrongly; the text names the value and what to do."""


class NotFoundError(Exception):
    """What was looked for is not there, or something is wrong with it."""


class UnreachableError(Exception):
    """A backend does not answer as it should, or a port is taken; the text says which, and how."""


class InterruptedChangeError(Exception):
    """Somebody has stopped a change; the text says how far it had come."""


def write_error(text: object, command: str = "otel-queue") -> None:
    """Write one line to stderr, without passwords and control characters."""
    line = without_secrets(printable(" ".join(str(text).split())))
    print(f"{command}: {line}", file=sys.stderr, flush=True)  # noqa: T201


def discard(*descriptors: int) -> None:
    """Let what is still to be written to them go nowhere: nobody reads it any more.

    Python's own flush at the end would fail otherwise, and change the exit code.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)


def printable(text: str) -> str:
    """`text` with each control character as `?`: a name may hold commands to the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
