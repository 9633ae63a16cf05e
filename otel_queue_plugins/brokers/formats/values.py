"""Values out of messages that anybody may have written: of the type that is expected, or None."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Final

_TOO_LONG: Final = 1e15


def text(value: object) -> str | None:
    """`value` if it is text, else None."""
    return value if isinstance(value, str) else None


def number(value: object) -> int | None:
    """`value` if it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def mapping(value: object) -> Mapping[str, object]:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def seconds(millis: object) -> float | None:
    """`millis` in seconds; None for what is no time: text, infinity, beyond thousands of years."""
    if isinstance(millis, bool) or not isinstance(millis, (int, float)):
        return None
    return millis / 1000 if -_TOO_LONG < millis < _TOO_LONG else None


def timestamp(value: object) -> float | None:
    """Seconds since the epoch of a time in ISO 8601, or of a `datetime`. Without a zone: UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return aware.timestamp()
    except (OverflowError, ValueError):
        return None


def parsed(document: bytes | str) -> object:
    """The value that a JSON document has; None for anything else."""
    try:
        value: object = json.loads(document)
    except (ValueError, RecursionError):
        return None
    return value
