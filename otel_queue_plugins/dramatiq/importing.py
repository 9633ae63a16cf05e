"""To be told when a module is imported, without importing it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def when_imported(name: str, tell: Callable[[ModuleType], None]) -> None:
    """Call `tell` with the module `name`: now if it is there, else as soon as it is."""
    module = sys.modules.get(name)
    if module is not None:
        tell(module)
    else:
        sys.meta_path.insert(0, _Watch(name, tell))


class _Watch:
    """Finds nothing itself, and goes when it has seen what it waits for."""

    def __init__(self, name: str, tell: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._tell = tell

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """The module as all others find it, loaded by a loader that tells."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        loader: Any = spec and spec.loader
        if loader is not None:
            loader.exec_module = _telling(loader.exec_module, self._tell)
        return spec


def _telling(
    execute: Callable[[ModuleType], None], tell: Callable[[ModuleType], None]
) -> Callable[[ModuleType], None]:
    def execute_and_tell(module: ModuleType) -> None:
        execute(module)
        tell(module)

    return execute_and_tell
