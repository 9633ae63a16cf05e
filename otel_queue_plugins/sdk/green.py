"""gRPC blocks in C, where no greenlet can switch: under gevent and eventlet it gets a thread."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from contextvars import copy_context
from importlib import import_module
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_POLL = 0.02


def apart(call: Callable[P, T]) -> Callable[P, T]:
    """`call`, such that only the greenlet that calls it waits, not the whole hub.

    Without monkey-patched threads this is `call` itself.
    """
    run = _thread_runner()
    if run is None:
        return call

    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        outcome: Future[T] = Future()
        context = copy_context()

        def act() -> None:
            try:
                outcome.set_result(context.run(call, *args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                outcome.set_exception(error)

        run(act)
        return outcome.result()

    return called


def _thread_runner() -> Callable[[Callable[[], None]], None] | None:
    """What runs a function in a thread of the operating system and waits; None if not green."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return _under_gevent
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return _under_eventlet
    return None


def _under_gevent(act: Callable[[], None]) -> None:
    import_module("gevent").get_hub().threadpool.apply(act)


def _under_eventlet(act: Callable[[], None]) -> None:
    """Its own pool joins its threads at exit, however long they hang."""
    eventlet = import_module("eventlet")
    thread = eventlet.patcher.original("threading").Thread(target=act, daemon=True)
    thread.start()
    while thread.is_alive():
        eventlet.sleep(_POLL)
