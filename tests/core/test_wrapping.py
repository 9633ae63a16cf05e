"""Functions of other packages are wrapped invisibly, and unwrapped exactly."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import Any

import pytest

from otel_queue_plugins.core.wrapping import wrap


class Recorder:
    """A wrapper that notes its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def around(self, call: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        self.calls.append((instance, args, kwargs))
        return call(*args, **kwargs) + 1


def fresh() -> type:
    """A class that nobody has wrapped anything of."""

    class Shop:
        def price(self, item: int, *, times: int = 1) -> int:
            """What it costs."""
            return item * times

    return Shop


def module() -> ModuleType:
    """A module with one function."""
    made = ModuleType("made")
    exec("def price(item, *, times=1):\n    return item * times", vars(made))  # noqa: S102
    return made


def test_wrapped_method_is_called_through_the_wrapper() -> None:
    """The wrapper gets the bound method, the instance and the arguments; its result is returned."""
    owner, recorder = fresh(), Recorder()
    wrap(owner, "price", recorder.around)
    shop = owner()
    assert shop.price(2, times=3) == owner.price(shop, 2, times=3) == 7
    assert recorder.calls == [(shop, (2,), {"times": 3})] * 2


def test_wrapped_function_is_called_without_instance() -> None:
    """The instance of a module's function is None."""
    owner, recorder = module(), Recorder()
    wrap(owner, "price", recorder.around)
    assert owner.price(2, times=3) == 7
    assert recorder.calls == [(None, (2,), {"times": 3})]


@pytest.mark.parametrize("make", [fresh, module])
def test_wrapped_function_keeps_name_and_signature(make: Any) -> None:
    """`__wrapped__` is the original."""
    owner = make()
    original = owner.price
    wrap(owner, "price", Recorder().around)
    assert owner.price.__wrapped__ is original
    assert inspect.signature(owner.price) == inspect.signature(original)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(owner.price, name) == getattr(original, name)


@pytest.mark.parametrize("make", [fresh, module])
def test_unwrap_restores_the_original(make: Any) -> None:
    """The owner has the same attributes as before."""
    owner = make()
    before = dict(vars(owner))
    wrap(owner, "price", Recorder().around)()
    assert dict(vars(owner)) == before


@pytest.mark.parametrize("make", [fresh, module])
def test_unwrap_below_a_foreign_wrapper_keeps_that_wrapper(make: Any) -> None:
    """Theirs stays, and our wrapper is not called any more."""
    owner, recorder = make(), Recorder()
    unwrap = wrap(owner, "price", recorder.around)
    ours = owner.price

    @functools.wraps(ours)
    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs) + 100

    owner.price = theirs
    unwrap()
    assert vars(owner)["price"] is theirs
    arguments = [owner(), 2] if inspect.isclass(owner) else [2]
    assert owner.price(*arguments, times=3) == 106
    assert recorder.calls == []


def test_wrapping_twice_calls_the_wrapper_once() -> None:
    """Also below a wrapper of somebody else; two different wrappers are both called."""
    owner, recorder, other = fresh(), Recorder(), Recorder()
    unwrap = wrap(owner, "price", recorder.around)
    once = owner.price
    assert wrap(owner, "price", recorder.around) is unwrap
    assert owner.price is once
    wrap(owner, "price", other.around)
    wrap(owner, "price", recorder.around)
    assert owner().price(1) == 3
    assert len(recorder.calls) == len(other.calls) == 1


def test_wrap_after_unwrap_below_foreign_wrapper_works() -> None:
    """A wrapper that was unwrapped does not count as present."""
    owner, recorder = fresh(), Recorder()
    unwrap = wrap(owner, "price", recorder.around)
    ours = owner.price

    @functools.wraps(ours)
    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    owner.price = theirs
    unwrap()
    wrap(owner, "price", recorder.around)
    assert owner().price(1) == 2
    assert len(recorder.calls) == 1


def test_wrap_of_inherited_function_raises() -> None:
    """An inherited function belongs to another class, and could not be restored on this one."""
    with pytest.raises(KeyError):
        wrap(type("Child", (fresh(),), {}), "price", Recorder().around)
