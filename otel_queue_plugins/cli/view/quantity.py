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


def elapsed(seconds: float) -> str:
    """An age in two units at most: `0 s`, `52 s`, `2 m 05 s`, `3 h 20 m`, `4 d 06 h`."""
    whole = round(seconds)
    for size, small, names in ((86400, 3600, "dh"), (3600, 60, "hm"), (60, 1, "ms")):
        if whole >= size:
            many, rest = divmod(whole, size)
            return f"{many} {names[0]} {rest // small:02} {names[1]}"
    return f"{whole} s"


def bound(seconds: float) -> str:
    """A limit of a histogram, as short as it can be: `5 ms`, `2.5 s`."""
    if seconds == 0:
        return "0"
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"


def count(value: float) -> str:
    """`value` without a useless fraction."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
