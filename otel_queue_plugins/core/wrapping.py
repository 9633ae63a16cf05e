"""Wrap functions of other packages, and unwrap them exactly.

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

_WRAPPING: Final = "__otel_queue_wrapping__"


class _Wrapping:
    """The wrapper around one function; `wrapper` is None once it was unwrapped."""

    __slots__ = ("unwrap", "wrapper")

    def __init__(self, wrapper: Wrapper) -> None:
        self.wrapper: Wrapper | None = wrapper
        self.unwrap: Callable[[], None] = do_nothing


def wrap(owner: Any, name: str, wrapper: Wrapper) -> Callable[[], None]:
    """Replace the function `owner.name` by one that calls `wrapper(call, instance, args, kwargs)`.

    If somebody else wraps the function after us, our function stays below theirs and only calls
    the original once it was unwrapped. Wrapping twice has the effect of wrapping once.

    Args:
        owner: A class or a module.
        name: The name of a function that `owner` itself has, not a class it inherits from.
        wrapper: Called with the original (bound, if `owner` is a class), the instance (None, if
            `owner` is a module) and the arguments; its result is returned.

    Returns:
        The function that unwraps.

    Raises:
        KeyError: `owner` itself has no such function.
    """
    original = vars(owner)[name]
    present = _find(original, wrapper)
    if present is not None:
        return present.unwrap
    wrapping = _Wrapping(wrapper)
    wrapped = (_method if isinstance(owner, type) else _function)(original, wrapping)
    functools.update_wrapper(wrapped, original)
    setattr(wrapped, _WRAPPING, wrapping)
    setattr(owner, name, wrapped)

    def unwrap() -> None:
        wrapping.wrapper = None
        if vars(owner).get(name) is wrapped:
            setattr(owner, name, original)

    wrapping.unwrap = unwrap
    return unwrap


def _find(function: Any, wrapper: Wrapper) -> _Wrapping | None:
    """The wrapping of `wrapper` at `function` or below it; None if there is none."""
    while function is not None:
        wrapping = getattr(function, _WRAPPING, None)
        if isinstance(wrapping, _Wrapping) and wrapping.wrapper == wrapper:
            return wrapping
        function = getattr(function, "__wrapped__", None)
    return None


def _method(original: Call, wrapping: _Wrapping) -> Call:
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        wrapper = wrapping.wrapper
        if wrapper is None:
            return original(self, *args, **kwargs)
        return wrapper(MethodType(original, self), self, args, kwargs)

    return method


def _function(original: Call, wrapping: _Wrapping) -> Call:
    def function(*args: Any, **kwargs: Any) -> Any:
        wrapper = wrapping.wrapper
        if wrapper is None:
            return original(*args, **kwargs)
        return wrapper(original, None, args, kwargs)

    return function
