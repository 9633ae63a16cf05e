"""Whether a class of the SDK is as its authors left it."""

from __future__ import annotations

import sys
from types import FunctionType


def are_own(cls: type, *names: str) -> bool:
    """Whether these methods are code of the modules that `cls` and its bases come from."""
    modules = [vars(sys.modules[base.__module__]) for base in cls.__mro__]
    return all(_is_from(getattr(cls, name, None), modules) for name in names)


def _is_from(method: object, modules: list[dict[str, object]]) -> bool:
    return type(method) is FunctionType and any(method.__globals__ is each for each in modules)
