"""The carrier in `message.options`, and the names of this package's options.

A carrier is replaced as a whole and never changed, since copies of a message share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "otel"
RELATION: Final = "otel_relation"
TRACE: Final = "otel_trace"

_GROUP_SIZE: Final = "group_size"
_EMPTY: Final[dict[str, object]] = {}


def read(message: Any) -> Mapping[str, object]:
    """Return the carrier of `message`; an empty one if it is missing or not a dict."""
    carrier = message.options.get(KEY)
    return carrier if isinstance(carrier, dict) else _EMPTY


def write(message: Any, carrier: Mapping[str, object]) -> None:
    """Put `carrier` into `message`. Do not change it afterwards."""
    message.options[KEY] = carrier


def with_group_size(callback: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Copy a completion callback (`Message.asdict`) and add the size of its group.

    The size takes the place of the carrier, which is written when the callback is sent.
    """
    return {**callback, "options": {**callback["options"], KEY: {_GROUP_SIZE: size}}}


def group_size(message: Any) -> int | None:
    """Return the size that `with_group_size` has added; None if there is none."""
    size = read(message).get(_GROUP_SIZE)
    return size if isinstance(size, int) else None
