"""What other packages have installed: entry points and modules."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints


def entry_points_of(group: str, **matching: Any) -> EntryPoints:
    """The entry points of `group`."""
    # At first use only: importlib.metadata takes two MiB.
    from importlib.metadata import entry_points

    return entry_points(group=group, **matching)


def is_importable(module: str) -> bool:
    """Whether `module` is there. Its parent packages are imported, the module itself is not."""
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def import_or_none(module: str) -> Any:
    """The module of this full name, imported if need be; None where there is none."""
    try:
        return sys.modules.get(module) or import_module(module)
    except ImportError:
        return None
