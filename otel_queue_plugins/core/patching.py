"""Functions of others, called through wrappers of ours, and put back exactly.

The wrappers are wrapt's. Which functions there are, each adapter says in a table of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from functools import reduce
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import wrapt

Call = Callable[..., Any]
Wrapper = Callable[[Call, Any, tuple[Any, ...], dict[str, Any]], Any]
"""Called with the function, bound if it is a method, its instance or None, and the arguments."""
TakeBack = Callable[[], None]
Switch = list[bool]
"""True until it is emptied. wrapt asks it at each call; asking a function would cost a call."""

if TYPE_CHECKING:
    _FunctionWrapper = wrapt.FunctionWrapper[..., Any]
    _BoundFunctionWrapper = wrapt.BoundFunctionWrapper[..., Any]
    _ObjectProxy = wrapt.ObjectProxy[Any]
else:
    _FunctionWrapper = wrapt.FunctionWrapper
    _BoundFunctionWrapper = wrapt.BoundFunctionWrapper
    _ObjectProxy = wrapt.ObjectProxy

_MISSING: Final = object()


class Patch(NamedTuple):
    """What a function is called through, `since` which version of the framework, and why."""

    wrapper: Wrapper
    since: str
    why: str


Table = Mapping[str, Mapping[str, Patch]]
"""Patches by the name of the function, by `module:` or `module:object` that has it."""


class _Bound(_BoundFunctionWrapper):
    """A method, which is pickled and copied as one: by its object and its name."""

    def __reduce_ex__(self, _protocol: object) -> Any:
        instance = self._self_instance
        return getattr, (self._self_parent.owner if instance is None else instance, self.__name__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any], /) -> Any:
        _, (owner, name) = self.__reduce_ex__(0)
        return getattr(deepcopy(owner, memo), name)


class Wrapped(_FunctionWrapper):
    """A function that is called through `wrapper` for as long as the switch is on.

    One that `patch` has made knows the `owner` that it was patched in, and what takes it back.
    """

    __bound_function_wrapper__ = _Bound

    def __init__(self, function: Call, wrapper: Wrapper, switch: Switch) -> None:
        enabled: Any = switch  # wrapt knows it as something that is true or false
        super().__init__(function, wrapper, enabled)
        self.note(None, None)

    def note(self, owner: Any, take_back: TakeBack | None) -> None:
        """Keep what `patch` is to find again."""
        # Other attributes than these are those of the function.
        self._self_found = owner, take_back

    @property
    def owner(self) -> Any:
        """The module, class or object; None if no attribute of one was patched."""
        return self._self_found[0]

    @property
    def take_back(self) -> TakeBack | None:
        """What puts the function back."""
        return self._self_found[1]

    def is_live(self, wrapper: Wrapper) -> bool:
        """Whether this calls `wrapper`."""
        return bool(self._self_enabled and self._self_wrapper == wrapper)

    def __reduce_ex__(self, _protocol: object) -> Any:
        """By name, as a function: a pool hands some of them to processes that it spawns."""
        instance = getattr(self.__wrapped__, "__self__", None)
        return self.__qualname__ if instance is None else (getattr, (instance, self.__name__))

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any], /) -> Any:
        return self


class Observed(_ObjectProxy):
    """A function that a patched one has made for each message to go through: `call` is called.

    At a third of the cost of `Wrapped`, which looks for an object that the function is bound to.
    `call` has to know by itself when it is to do nothing any more.
    """

    def __init__(self, function: Call, call: Call) -> None:
        super().__init__(function)
        self._self_call = call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the function would be called."""
        return self._self_call(*args, **kwargs)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any], /) -> Any:
        return self


def patch(owner: Any, name: str, wrapper: Wrapper) -> TakeBack:
    """Have the function, or the property, `owner.name` called through `wrapper`.

    An object that is no class and no module may have it from its class.

    Args:
        owner: The module, class or object.
        name: The name of the function.
        wrapper: What is called in its place.

    Returns:
        What puts the function back. If somebody has wrapped it again meanwhile, ours stays below
        that as a plain call. Patching twice is patching once, and returns the same.

    Raises:
        KeyError: A class or a module has no such function of its own.
        AttributeError: An object has none.
        TypeError: It is neither a function nor a property.
    """
    has_its_own = isinstance(owner, (type, ModuleType))
    found = vars(owner)[name] if has_its_own else getattr(owner, name)
    before = _find(found, wrapper)
    if before is not None:
        is_imported = type(found) is Wrapped and found.owner is not owner
        return _take_back_import(owner, name, found) if is_imported else before
    function = found.fget if isinstance(found, property) else found
    if not callable(function):
        raise TypeError(f"{name} of {owner!r} is no function")
    switch = [True]
    wrapped = Wrapped(function, wrapper, switch)
    put_back = replace(owner, name, wrapped if function is found else property(wrapped))

    def take_back() -> None:
        switch.clear()
        put_back()

    wrapped.note(owner, take_back)
    return take_back


def _find(function: Any, wrapper: Wrapper) -> TakeBack | None:
    """What takes `wrapper` back, if it is around `function` already, or below what is."""
    while function is not None:
        if type(function) is Wrapped and function.is_live(wrapper):
            return function.take_back
        function = getattr(function, "__wrapped__", None)
    return None


def _take_back_import(owner: Any, name: str, wrapped: Wrapped) -> TakeBack:
    def take_back() -> None:
        if vars(owner).get(name) is wrapped:
            setattr(owner, name, wrapped.__wrapped__)

    return take_back


def replace(owner: Any, name: str, value: Any) -> TakeBack:
    """Set the attribute `owner.name`.

    Returns what puts the former one back, or deletes it if `owner` had it from its class. By then
    somebody else may have replaced ours; theirs stays.
    """
    before = vars(owner).get(name, _MISSING)
    setattr(owner, name, value)

    def put_back() -> None:
        if vars(owner).get(name) is not value:
            return
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    return put_back


def unwrap(owner: Any, name: str) -> None:
    """Put a function back that is observed."""
    function = vars(owner).get(name)
    if type(function) is Observed:
        setattr(owner, name, function.__wrapped__)


def apply(table: Table, version: str | None = None) -> list[TakeBack]:
    """Patch what is in `table` and in this `version` of the framework; None tries all of it.

    Returns what puts it back, in the same order. Does not raise for what this version does not
    have, since private names may go with any release.
    """
    undo: list[TakeBack] = []
    for place, patches in table.items():
        module, _, path = place.partition(":")
        with suppress(AttributeError, ImportError):
            owner = reduce(getattr, path.split(".") if path else [], import_module(module))
            undo += apply_to(owner, patches, version)
    return undo


def apply_to(
    owner: Any, patches: Mapping[str, Patch], version: str | None = None
) -> list[TakeBack]:
    """As `apply`, for the functions of one object."""
    undo: list[TakeBack] = []
    for name, row in patches.items():
        if is_in(row, version):
            with suppress(AttributeError, KeyError, TypeError):
                undo.append(patch(owner, name, row.wrapper))
    return undo


def is_in(row: Patch, version: str | None) -> bool:
    """Whether `row` is meant for this `version` of the framework."""
    return version is None or _numbers(row.since) <= _numbers(version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
