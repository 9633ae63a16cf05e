"""Register flushes for the exit of the interpreter, and of children of multiprocessing."""

from __future__ import annotations

import atexit
import os
import sys
from importlib import import_module
from typing import Any, Final

from otel_queue_plugins.sdk import instance_id, relay
from otel_queue_plugins.sdk.global_providers import OWN, has_providers
from otel_queue_plugins.sdk.process import background, flushing

_FIRST: Final = 0


class _Registered:
    """The pids of the processes in which each kind of handler was registered last."""

    __slots__ = ("child", "exit", "parent")

    def __init__(self) -> None:
        self.exit = self.child = self.parent = 0


_registered: Final = _Registered()


def flush_at_exit() -> None:
    """Flush when the interpreter exits, or the child of multiprocessing that this process is.

    A child of multiprocessing runs no atexit handlers before Python 3.13. So the application's
    providers are flushed there, too; elsewhere they have exit handlers of their own.
    """
    if OWN and _registered.exit != os.getpid():
        _registered.exit = os.getpid()
        if not relay.is_child():  # which hands its data over by itself
            background.prepare_for_shutdown()
        atexit.unregister(flushing.flush_own)
        atexit.register(flushing.flush_own)
    if instance_id.has_parent() and has_providers():
        _finalize_child(None)


def prepare_children() -> None:
    """Before a fork: make a child of multiprocessing flush at its exit, too.

    Such a child drops at its start the finalizers that its parent has registered.
    """
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _registered.parent == 0:
        _registered.parent = os.getpid()
        util.register_after_fork(flushing.flush, _finalize_child)


def _finalize_child(_: Any) -> None:
    if _registered.child != os.getpid():
        _registered.child = os.getpid()
        import_module("multiprocessing.util").Finalize(None, flushing.flush, exitpriority=_FIRST)
