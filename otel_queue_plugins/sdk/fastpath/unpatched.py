"""Whether a class of the SDK is as its authors left it."""

from __future__ import annotations

import sys
from types import FunctionType

from otel_queue_plugins.sdk.fastpath.gate import DifferentError


def are_own(cls: type, *names: str) -> bool:
    """Whether these methods are code of the modules that `cls` and its bases come from."""
    modules = [vars(sys.modules[base.__module__]) for base in cls.__mro__]
    return all(_is_from(getattr(cls, name, None), modules) for name in names)


def check_own(cls: type, *names: str) -> None:
    """Raise DifferentError, naming the first that is not."""
    for name in names:
        if not are_own(cls, name):
            raise DifferentError(f"{cls.__qualname__}.{name} is missing, or not the SDK's own")


def _is_from(method: object, modules: list[dict[str, object]]) -> bool:
    return type(method) is FunctionType and any(method.__globals__ is each for each in modules)
