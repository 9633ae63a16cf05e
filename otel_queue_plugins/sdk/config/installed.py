"""What other packages offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints


def offered(group: str, **matching: Any) -> EntryPoints:
    """The entry points of `group`. Looking loads importlib.metadata, two MiB: only when asked."""
    from importlib.metadata import entry_points

    return entry_points(group=group, **matching)


def is_importable(module: str) -> bool:
    """Whether `module` is there. Packages that it is in are imported, it is not."""
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
