"""Code of ours around a function of somebody else's.

wrapt would do it, at two MiB a process: it imports asyncio, importlib.metadata and email.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any, Final

from otel_queue_plugins.core.safety import do_nothing

Call = Callable[..., Any]
Wrapper = Callable[[Call, Any, tuple[Any, ...], dict[str, Any]], Any]

_AROUND: Final = "__otel_queue_around__"


class _Around:
    """What is around a function: our wrapper, or nothing any more."""

    __slots__ = ("unwrap", "wrapper")

    def __init__(self, wrapper: Wrapper) -> None:
        self.wrapper: Wrapper | None = wrapper
        self.unwrap: Callable[[], None] = do_nothing


def wrap(owner: Any, name: str, wrapper: Wrapper) -> Callable[[], None]:
    """Call `wrapper(call, instance, args, kwargs)` instead of the function `owner.name`.

    `call` is that function, bound if `owner` is a class; `instance` is None if it is a module.
    Returns what takes the wrapper back. If somebody has wrapped the function again meanwhile, ours
    stays below that and does nothing. Wrapping twice is wrapping once, and returns the same. Raises
    KeyError if `owner` itself has no such function.
    """
    original = vars(owner)[name]
    known = _find(original, wrapper)
    if known is not None:
        return known.unwrap
    around = _Around(wrapper)
    ours = (_method if isinstance(owner, type) else _function)(original, around)
    functools.update_wrapper(ours, original)
    setattr(ours, _AROUND, around)
    setattr(owner, name, ours)

    def unwrap() -> None:
        around.wrapper = None
        if vars(owner).get(name) is ours:
            setattr(owner, name, original)

    around.unwrap = unwrap
    return unwrap


def _find(function: Any, wrapper: Wrapper) -> _Around | None:
    while function is not None:
        around = getattr(function, _AROUND, None)
        if isinstance(around, _Around) and around.wrapper == wrapper:
            return around
        function = getattr(function, "__wrapped__", None)
    return None


def _method(original: Call, around: _Around) -> Call:
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        wrapper = around.wrapper
        if wrapper is None:
            return original(self, *args, **kwargs)
        return wrapper(MethodType(original, self), self, args, kwargs)

    return method


def _function(original: Call, around: _Around) -> Call:
    def function(*args: Any, **kwargs: Any) -> Any:
        wrapper = around.wrapper
        if wrapper is None:
            return original(*args, **kwargs)
        return wrapper(original, None, args, kwargs)

    return function
