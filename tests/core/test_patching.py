"""Patching functions of others: seen by nobody, and taken back without a trace."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import subprocess
import sys
import textwrap
from collections import Counter
from types import FunctionType, ModuleType
from typing import Any

import pytest

from otel_queue_plugins.core.patching import Observed, Patch, apply, is_in, patch, replace, unwrap


class Recorder:
    """A wrapper that notes its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def around(self, call: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        self.calls.append((instance, args, kwargs))
        return call(*args, **kwargs) + 1


def plain_call(call: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """A wrapper that adds nothing."""
    return call(*args, **kwargs)


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


def test_a_method_is_called_through_the_wrapper() -> None:
    """It gets the bound method, the instance and what was passed; what it returns is returned."""
    owner, recorder = fresh(), Recorder()
    patch(owner, "price", recorder.around)
    shop = owner()
    assert shop.price(2, times=3) == owner.price(shop, 2, times=3) == 7
    assert recorder.calls == [(shop, (2,), {"times": 3})] * 2


def test_a_function_is_called_through_the_wrapper() -> None:
    """There is no instance."""
    owner, recorder = module(), Recorder()
    patch(owner, "price", recorder.around)
    assert owner.price(2, times=3) == 7
    assert recorder.calls == [(None, (2,), {"times": 3})]


@pytest.mark.parametrize("make", [fresh, module])
def test_it_looks_like_what_it_wraps(make: Any) -> None:
    """Name, signature and documentation stay, and `__wrapped__` leads to the original."""
    owner = make()
    original = owner.price
    patch(owner, "price", Recorder().around)
    assert owner.price.__wrapped__ is original
    assert inspect.signature(owner.price) == inspect.signature(original)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(owner.price, name) == getattr(original, name)


@pytest.mark.parametrize("make", [fresh, module])
def test_it_is_taken_back_exactly(make: Any) -> None:
    """The very function that was there is there again."""
    owner = make()
    before = dict(vars(owner))
    patch(owner, "price", Recorder().around)()
    assert dict(vars(owner)) == before


@pytest.mark.parametrize("make", [fresh, module])
def test_what_somebody_wrapped_again_stays_and_does_nothing(make: Any) -> None:
    """Theirs is not thrown away, ours is not called any more."""
    owner, recorder = make(), Recorder()
    take_back = patch(owner, "price", recorder.around)
    ours = owner.price

    @functools.wraps(ours)
    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs) + 100

    owner.price = theirs
    take_back()
    assert vars(owner)["price"] is theirs
    arguments = [owner(), 2] if inspect.isclass(owner) else [2]
    assert owner.price(*arguments, times=3) == 106
    assert recorder.calls == []


def test_patching_twice_is_patching_once() -> None:
    """Also below what somebody else has put around it; another wrapper of ours is another."""
    owner, recorder, other = fresh(), Recorder(), Recorder()
    take_back = patch(owner, "price", recorder.around)
    once = vars(owner)["price"]
    assert patch(owner, "price", recorder.around) is take_back
    assert vars(owner)["price"] is once
    patch(owner, "price", other.around)
    patch(owner, "price", recorder.around)
    assert owner().price(1) == 3
    assert len(recorder.calls) == len(other.calls) == 1


def test_it_can_be_patched_again_after_it_was_taken_back() -> None:
    """Below the wrapper of somebody else a dead one of ours does not stand for a new one."""
    owner, recorder = fresh(), Recorder()
    take_back = patch(owner, "price", recorder.around)
    ours = owner.price

    @functools.wraps(ours)
    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    owner.price = theirs
    take_back()
    patch(owner, "price", recorder.around)
    assert owner().price(1) == 2
    assert len(recorder.calls) == 1


def test_only_what_a_class_has_itself_is_patched() -> None:
    """An inherited function belongs to another class, and would not be taken back there."""
    with pytest.raises(KeyError):
        patch(type("Child", (fresh(),), {}), "price", Recorder().around)


def test_an_object_may_have_the_function_from_its_class() -> None:
    """Then it has one of its own for as long as it is patched, and the class is left alone."""
    owner, recorder = fresh(), Recorder()
    shop, other = owner(), owner()
    take_back = patch(shop, "price", recorder.around)
    assert (shop.price(2), other.price(2)) == (3, 2)
    assert recorder.calls == [(shop, (2,), {})]
    take_back()
    assert vars(shop) == {}
    assert shop.price(2) == 2


def test_what_is_held_on_to_becomes_a_plain_call() -> None:
    """A bound method that was obtained before, too."""
    owner, recorder = fresh(), Recorder()
    take_back = patch(owner, "price", recorder.around)
    held = owner().price
    take_back()
    assert held(2) == 2
    assert recorder.calls == []


def test_a_property_is_read_through_the_wrapper() -> None:
    """Of the object that it is read of, which is the first argument; it is put back as it was."""

    class Shop:
        @property
        def rent(self) -> int:
            return 10

    before, recorder = vars(Shop)["rent"], Recorder()
    take_back = patch(Shop, "rent", recorder.around)
    shop = Shop()
    assert shop.rent == 11
    assert recorder.calls == [(None, (shop,), {})]
    take_back()
    assert vars(Shop)["rent"] is before


def test_what_imported_a_patched_function_is_taken_back_too() -> None:
    """Celery's modules import from each other, some of them after one is patched."""
    owner, other, recorder = module(), ModuleType("other"), Recorder()
    price = owner.price
    take_back = patch(owner, "price", recorder.around)
    other.price = owner.price
    take_back_import = patch(other, "price", recorder.around)
    assert other.price is owner.price
    take_back_import()
    take_back_import()
    assert other.price is price
    assert owner.price(1) == 2
    take_back()
    assert owner.price is price


def test_what_is_no_function_is_not_patched() -> None:
    """A later version may have something else of that name."""
    owner = type("Shop", (), {"price": 3})
    with pytest.raises(TypeError, match="is no function"):
        patch(owner, "price", Recorder().around)
    assert vars(owner)["price"] == 3


def test_a_patched_function_is_pickled_by_its_name() -> None:
    """As pools do that spawn; a process in which nothing is patched finds the plain function."""
    take_back = patch(textwrap, "dedent", Recorder().around)
    try:
        pickled = pickle.dumps(textwrap.dedent)
        assert pickle.loads(pickled) is textwrap.dedent  # noqa: S301 - from two lines above
    finally:
        take_back()
    program = (
        "import pickle, sys, textwrap; found = pickle.loads(sys.stdin.buffer.read());"
        "assert found is textwrap.dedent; assert type(found).__name__ == 'function'"
    )
    subprocess.run([sys.executable, "-c", program], input=pickled, check=True, timeout=60)


def test_a_patched_method_is_pickled_and_copied_as_one() -> None:
    """With its object, or its class."""
    take_back = patch(
        Counter, "most_common", lambda call, _self, args, kwargs: call(*args, **kwargs)
    )
    try:
        counter = Counter("aab")
        again = pickle.loads(pickle.dumps(counter.most_common))  # noqa: S301 - likewise
        assert again(1) == copy.deepcopy(counter.most_common)(1) == [("a", 2)]
        assert copy.copy(counter.most_common)(1) == [("a", 2)]
        unbound = pickle.loads(pickle.dumps(Counter.most_common))  # noqa: S301 - likewise
        assert unbound(counter, 1) == [("a", 2)]
    finally:
        take_back()


def test_a_patched_function_is_copied_as_functions_are() -> None:
    """It is the same one."""
    owner = module()
    patch(owner, "price", Recorder().around)
    assert copy.copy(owner.price) is copy.deepcopy(owner.price) is owner.price


def test_the_method_of_one_object_is_pickled_with_it() -> None:
    """Where nothing is patched it is the one of the class."""
    counter = Counter("aab")
    patch(counter, "most_common", Recorder().around)
    found = pickle.loads(pickle.dumps(counter.most_common))  # noqa: S301 - from this very line
    assert Counter.most_common(found.__self__) == [("a", 2), ("b", 1)]


def test_a_replaced_value_of_somebody_else_stays() -> None:
    """Ours is put back only while it is there."""
    owner = module()
    put_back = replace(owner, "price", 1)
    owner.price = 2
    put_back()
    assert owner.price == 2


def test_a_function_that_is_observed_looks_like_itself_until_it_is_put_back() -> None:
    """What no function of ours is in the place of is left alone."""
    owner = module()
    price = owner.price
    owner.price = observed = Observed(price, lambda item, times=1: price(item, times=times) + 1)
    assert observed(2, times=3) == 7
    assert (observed.__wrapped__, observed.__name__) == (price, "price")
    assert inspect.signature(observed) == inspect.signature(price)
    assert copy.copy(observed) is copy.deepcopy(observed) is observed
    for _ in range(2):
        unwrap(owner, "price")
        assert owner.price is price
        assert type(owner.price) is FunctionType


def test_a_table_is_applied_as_far_as_the_version_has_it() -> None:
    """A row for a later version, a name, a class or a module that is gone: each is passed by."""
    recorder = Recorder()
    row, later = Patch(recorder.around, "3.10", "a test"), Patch(recorder.around, "99", "a test")
    before = dict(vars(textwrap)), dict(vars(textwrap.TextWrapper))
    undo = apply(
        {
            "textwrap": {"dedent": row, "indent": later, "gone": row},
            "textwrap:TextWrapper": {"fill": row},
            "textwrap:Gone": {"fill": row},
            "textwrap_gone": {"fill": row},
        },
        "3.10.2",
    )
    assert len(undo) == 2
    assert type(textwrap.dedent) is not FunctionType
    assert type(textwrap.indent) is FunctionType
    for take_back in undo:
        take_back()
    assert (dict(vars(textwrap)), dict(vars(textwrap.TextWrapper))) == before


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("5.7.0", True),
        ("5.7.0rc1", True),
        ("5.10", True),
        ("6", True),
        ("5.6.9", False),
        (None, True),
    ],
)
def test_a_row_counts_from_its_version_on(version: str | None, expected: bool) -> None:
    """Where nobody knows the version, all rows count."""
    assert is_in(Patch(Recorder().around, "5.7", "a test"), version) == expected
