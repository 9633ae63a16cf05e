"""Whether classes of the SDK are as its authors left them."""

from __future__ import annotations

import sys
from types import FunctionType


def are_own(cls: type, *names: str) -> bool:
    """Whether these methods of `cls` are code of the module of `cls`: nobody has patched them."""
    return all(is_own(cls, name) for name in names)


def is_own(cls: type, name: str) -> bool:
    """Whether method `name` of `cls` is code of one of the modules its bases come from."""
    found = getattr(cls, name, None)
    modules = (vars(sys.modules[base.__module__]) for base in cls.__mro__)
    return type(found) is FunctionType and any(found.__globals__ is each for each in modules)
