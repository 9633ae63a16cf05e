"""What of ours travels in `message.options`: one small dict, replaced as a whole, never mutated.

Copies of a message share their option values, so a dict that is on its way must not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "otel"
RELATION: Final = "otel_relation"
TRACE: Final = "otel_trace"

_GROUP_SIZE: Final = "group_size"
_NOTHING: Final[dict[str, object]] = {}


def read(message: Any) -> Mapping[str, object]:
    """The carrier of `message`, empty if there is none or it is none."""
    carrier = message.options.get(KEY)
    return carrier if isinstance(carrier, dict) else _NOTHING


def write(message: Any, carrier: Mapping[str, object]) -> None:
    """Give `message` this carrier, which is not changed any more from now on."""
    message.options[KEY] = carrier


def with_group_size(callback: Mapping[str, Any], size: int) -> dict[str, Any]:
    """A copy of a completion callback (`Message.asdict`) that knows the size of its group.

    It takes the place of the carrier, which the callback gets when it is sent.
    """
    return {**callback, "options": {**callback["options"], KEY: {_GROUP_SIZE: size}}}


def group_size(message: Any) -> int | None:
    """What `with_group_size` has put there."""
    size = read(message).get(_GROUP_SIZE)
    return size if isinstance(size, int) else None
