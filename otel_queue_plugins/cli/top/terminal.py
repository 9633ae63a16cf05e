"""The terminal of this process: whether there is one, and whether it was closed."""

from __future__ import annotations

import sys
import termios


def is_there() -> bool:
    """Whether the view can be drawn and keys can be read."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def is_closed() -> bool:
    """Whether there was one, and its window is gone."""
    if sys.__stdin__ is None:
        return True
    try:
        termios.tcgetattr(sys.__stdin__.fileno())
    except (OSError, ValueError, termios.error):
        return True
    return False
