"""Check that a class of the SDK has its original methods, not patched ones."""

from __future__ import annotations

import sys
from types import FunctionType

from otel_queue_plugins.sdk.fastpath.gate import UnexpectedSdkError


def are_unpatched(cls: type, *names: str) -> bool:
    """Whether these methods and properties come from the modules of `cls` and its bases."""
    modules = [vars(sys.modules[base.__module__]) for base in cls.__mro__]
    return all(_is_from(getattr(cls, name, None), modules) for name in names)


def check_unpatched(cls: type, *names: str) -> None:
    """Raise UnexpectedSdkError for the first of these methods that is patched or missing."""
    for name in names:
        if not are_unpatched(cls, name):
            raise UnexpectedSdkError(f"{cls.__qualname__}.{name} is missing, or not the SDK's own")


def is_function_of(function: object, module: str) -> bool:
    """Whether `function` is a plain function that was defined in `module`."""
    return _is_from(function, [vars(sys.modules[module])])


def _is_from(member: object, modules: list[dict[str, object]]) -> bool:
    function = member.fget if isinstance(member, property) else member
    # A decorated function has the globals of the decorator's module.
    return type(function) is FunctionType and any(function.__globals__ is m for m in modules)
