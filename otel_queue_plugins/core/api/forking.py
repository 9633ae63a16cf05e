"""What a forked child must do before anything else."""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakMethod


def call_in_children(method: Callable[[], None]) -> None:
    """Call a bound method in each child that this process forks, while its object lives."""
    if not hasattr(os, "register_at_fork"):
        return
    weakly = WeakMethod(method)

    def after_in_child() -> None:
        alive = weakly()
        if alive is not None:
            alive()

    os.register_at_fork(after_in_child=after_in_child)
