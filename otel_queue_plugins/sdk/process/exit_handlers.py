"""What this process has to do at its end, however it ends."""

from __future__ import annotations

import atexit
import os
import sys
from importlib import import_module
from typing import Any, Final

from otel_queue_plugins.sdk import relay
from otel_queue_plugins.sdk.process import background, flushing
from otel_queue_plugins.sdk.providers import instance_id
from otel_queue_plugins.sdk.providers.global_providers import OWN, has_providers

_FIRST: Final = 0


class _Prepared:
    """The pids of the processes in which each of these was done last."""

    __slots__ = ("child", "exit", "parent")

    def __init__(self) -> None:
        self.exit = self.child = self.parent = 0


_prepared: Final = _Prepared()


def flush_at_end() -> None:
    """Flush when the interpreter ends, or the child of multiprocessing.

    Such a child runs no atexit handlers before Python 3.13. Elsewhere a user's own providers
    have an ending of their own.
    """
    if OWN and _prepared.exit != os.getpid():
        _prepared.exit = os.getpid()
        if not relay.is_child():  # which hands over by itself
            background.prepare_for_the_end()
        atexit.unregister(flushing.flush_own)
        atexit.register(flushing.flush_own)
    if instance_id.has_parent() and has_providers():
        _finalize_child(None)


def prepare_children() -> None:
    """Before a fork: if multiprocessing does it, the child is to flush at its end, too.

    It forgets at its start what its parent had registered to be done at the end.
    """
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _prepared.parent == 0:
        _prepared.parent = os.getpid()
        util.register_after_fork(flushing.flush, _finalize_child)


def _finalize_child(_: Any) -> None:
    if _prepared.child != os.getpid():
        _prepared.child = os.getpid()
        import_module("multiprocessing.util").Finalize(None, flushing.flush, exitpriority=_FIRST)
