"""Numbers as people read them."""

from __future__ import annotations

from typing import Final

_FORMS: Final = (  # up to this many seconds: factor, digits, unit
    (0.00995, 1e3, ".1f", "ms"),
    (0.9995, 1e3, ".0f", "ms"),
    (9.995, 1, ".2f", "s"),
    (59.95, 1, ".1f", "s"),
)


def duration(seconds: float) -> str:
    """`seconds` with a unit and two or three digits: `0.4 ms`, `52 ms`, `1.12 s`, `2 m 05 s`."""
    for limit, factor, digits, unit in _FORMS:
        if seconds < limit:
            return f"{seconds * factor:{digits}} {unit}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02} s"


def bound(seconds: float) -> str:
    """A limit of a histogram, as short as it can be: `5 ms`, `2.5 s`."""
    if seconds == 0:
        return "0"
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"


def count(value: float) -> str:
    """`value` without a useless fraction."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
