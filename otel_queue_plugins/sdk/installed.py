"""Components that other packages offer by entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints


def offered(group: str, **matching: Any) -> EntryPoints:
    """The entry points of `group`. Looking loads importlib.metadata, two MiB: only when asked."""
    from importlib.metadata import entry_points

    return entry_points(group=group, **matching)
