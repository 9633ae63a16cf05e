"""What the run is doing, on stderr: the table alone is on stdout."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
