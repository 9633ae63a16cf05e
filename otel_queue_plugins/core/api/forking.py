"""Call methods in forked children, before any other code runs there."""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakMethod


def call_in_children(method: Callable[[], None]) -> None:
    """Call a bound method in each child that this process forks, as long as its object lives."""
    if not hasattr(os, "register_at_fork"):
        return
    reference = WeakMethod(method)

    def after_in_child() -> None:
        bound = reference()
        if bound is not None:
            bound()

    os.register_at_fork(after_in_child=after_in_child)
