"""Copy what another thread may change meanwhile."""

from __future__ import annotations

from typing import Any, Final

_TRIES: Final = 10


def copied(collection: Any) -> list[Any]:
    """The members of a collection, which is copied again if it changes; [] after ten times."""
    found = None
    for _ in range(_TRIES):
        found = found or _tried(collection)
    return found or []


def _tried(collection: Any) -> list[Any] | None:
    try:
        return list(collection)
    except RuntimeError:
        return None
