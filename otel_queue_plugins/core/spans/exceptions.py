"""What an exception says, within bounds, even when it does its best not to."""

from __future__ import annotations

import re
import traceback
from typing import Final

from otel_queue_plugins.core.bounds import bounded, valid_text

MAX_MESSAGE: Final = 1024
MAX_STACKTRACE: Final = 16_384


def type_name(error: BaseException) -> str:
    """The fully qualified class name; builtins without their module."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return bounded(kind.__qualname__)
    return bounded(f"{kind.__module__}.{kind.__qualname__}")


def message(error: BaseException) -> str:
    """`str(error)`, at most 1,024 characters; a note instead if that raises."""
    try:
        return valid_text(str(error), MAX_MESSAGE)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the failure it belongs to
        return f"<{type_name(error)} that cannot be printed>"


def stacktrace(error: BaseException, formatted: str | None = None) -> str:
    """`formatted` if given, else the formatted traceback, without frames of this package.

    At most 16 KiB, its end kept.
    """
    text = formatted or _format(error)
    if _PACKAGE in text:
        text = _FRAME_OF_OURS.sub("", text)
    start = "" if len(text) <= MAX_STACKTRACE else "...\n"
    return start + valid_text(text[-MAX_STACKTRACE:], MAX_STACKTRACE)


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # noqa: BLE001 - see `message`
        return f"{type_name(error)}: {message(error)}"


# Named as in tracebacks. Not ours are the apps of the demo.
_PACKAGE: Final = _format.__code__.co_filename.rpartition("core")[0]
# What groups of exceptions put before a line (`  |   `) is the same before all lines of a frame.
_FRAME_OF_OURS: Final = re.compile(
    rf'^([ |]*)File "{re.escape(_PACKAGE)}(?!cli/)[^"\n]*", line .*\n?'
    r"(?:\1  .*\n?)*",
    re.MULTILINE,
)
