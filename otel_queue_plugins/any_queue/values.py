"""What a user of `QueueTracer` hands over, as the core takes it. Nothing here raises.

A worker gets these values from messages, so that they may be of any type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from otel_queue_plugins.core.bounds import valid_text
from otel_queue_plugins.core.options import check_relation
from otel_queue_plugins.core.safety import log_failure

Time = float | datetime
_MAX_HEADERS: Final = 1000


def text(value: object) -> str:
    """`value` as a string; an empty one for None and for what cannot be printed."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    try:
        return valid_text(value)
    except Exception:  # noqa: BLE001 - a broken __str__
        return ""


def text_or_none(value: object) -> str | None:
    """As `text`, but None for nothing."""
    return text(value) or None


def seconds(value: object) -> float | None:
    """A time or a duration in seconds; None if `value` is neither a number nor a `datetime`."""
    try:
        found = value.timestamp() if isinstance(value, datetime) else float(value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - no number, or a date out of range
        return None
    return found if math.isfinite(found) and abs(found) < 1e12 else None  # noqa: PLR2004 - fits ns


def whole(value: object) -> int | None:
    """`value` as an int; None if it is no whole number."""
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except Exception:  # noqa: BLE001 - it came with a message
        return None


def headers(value: object) -> dict[str, Any]:
    """The headers of a message as a dict: a mapping or pairs, with keys of `str` or `bytes`."""
    try:
        pairs: Iterable[Any] = value.items() if isinstance(value, Mapping) else value  # type: ignore[assignment]
        if value is None or isinstance(value, (str, bytes)):
            return {}
        found: dict[str, Any] = {}
        for key, each in pairs:
            if len(found) == _MAX_HEADERS:
                break
            found[text(key)] = each
    except Exception:  # noqa: BLE001 - what cannot be read counts as absent
        return {}
    return found


def strings(carrier: Mapping[str, Any]) -> dict[str, str]:
    """The headers to hand to a broker; those that are neither text nor bytes are left out."""
    return {key: text(each) for key, each in carrier.items() if isinstance(each, (str, bytes))}


def relation(value: object) -> str | None:
    """`value` if it is a relation; None, and one line in the log, if it is not."""
    try:
        return None if value is None else check_relation(value)
    except ValueError:
        log_failure("reading the relation of a send")
        return None


def function_name(function: Callable[..., Any] | None) -> str | None:
    """The qualified name of a function; None if it has none."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else None
