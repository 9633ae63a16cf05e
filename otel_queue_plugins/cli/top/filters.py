"""What somebody types to see some queues or messages only."""

from __future__ import annotations

from argparse import ArgumentTypeError
from fnmatch import fnmatchcase
from typing import Any, Final

from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.queues import values

HINT: Final = "part of a task's name, or task=GLOB id=BEGINNING older=10m"
_WILD: Final = frozenset("*?[")


def is_meant(name: str, text: str) -> bool:
    """Whether a queue of that name is one of those: `text` is a glob, or a part of it."""
    return fnmatchcase(name.lower(), _glob(text.lower()))


def selection_of(text: str) -> Selection:
    """The messages that `text` chooses. Raises ValueError with what is wrong."""
    chosen: dict[str, Any] = {}
    for word in text.split():
        name, sign, value = word.partition("=")
        if not sign:
            chosen["task"] = _glob(word)
        elif name in {"task", "id"} and value:
            chosen[name] = value
        elif name == "older":
            chosen["older_than"] = _seconds(value)
        else:
            raise ValueError(f"{word!r} is not {HINT}")
    return Selection(**chosen)


def _glob(text: str) -> str:
    return text if _WILD & set(text) else f"*{text}*"


def _seconds(text: str) -> float:
    try:
        return values.duration(text)
    except ArgumentTypeError as error:
        raise ValueError(str(error)) from None
