"""Run gRPC in a native thread under gevent and eventlet: it blocks in C, where none can switch."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from functools import partial
from importlib import import_module
from typing import ParamSpec, TypeVar

logger = logging.getLogger("otel_queue_plugins")

P = ParamSpec("P")
T = TypeVar("T")

_POLL = 0.02
# What a native thread wants to be logged; None where it may log by itself.
_log_calls: ContextVar[deque[Callable[[], None]] | None] = ContextVar("_log_calls", default=None)
_warned: list[int] = []


def in_native_thread(call: Callable[P, T]) -> Callable[P, T]:
    """Wrap `call` so that only the calling greenlet waits, not the whole hub.

    Returns `call` itself in a process without monkey-patched threads.
    """
    run = _thread_runner()
    if run is None:
        return call

    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        outcome: Future[T] = Future()
        context, log_calls = copy_context(), deque[Callable[[], None]]()
        if run is _under_eventlet:
            context.run(_log_calls.set, log_calls)

        def act() -> None:
            try:
                outcome.set_result(context.run(call, *args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised again in the caller
                outcome.set_exception(error)

        run(act, partial(_call_all, log_calls))
        return outcome.result()

    return called


def log(level: int, text: str, *args: object) -> None:
    """Log a line of this package; what runs in a native thread of eventlet's leaves it to the hub.

    The locks of logging are eventlet's there. One that a greenlet holds while it writes cannot be
    waited for in another thread: eventlet wakes that up in the wrong one, and it waits for ever.
    """
    write = partial(logger.log, level, text, *args)
    calls = _log_calls.get()
    if calls is None:
        write()
    else:
        calls.append(write)


def _call_all(calls: deque[Callable[[], None]]) -> None:
    while calls:
        calls.popleft()()


def is_green() -> bool:
    """Whether gevent or eventlet has replaced the threads of this process by greenlets."""
    return _thread_runner() is not None


def warn_of_grpc(provider: object) -> None:
    """Warn once if an exporter of the application's `provider` would stop the hub.

    The remedy is left to the application, because it changes all use of gRPC in the process.
    """
    if os.getpid() in _warned or not _does_grpc_block():
        return
    from otel_queue_plugins.sdk.process import fork_repair

    if fork_repair.exports_over_grpc(provider):
        _warned.append(os.getpid())
        logger.warning(
            "exporting over gRPC stops every greenlet of this process while the backend does not "
            "answer: under gevent call grpc.experimental.gevent.init_gevent() right after monkey "
            "patching, or export over http/protobuf"
        )


def _does_grpc_block() -> bool:
    """Whether this process has greenlets that gRPC does not support; it never supports eventlet."""
    if "grpc" not in sys.modules or _thread_runner() is None:
        return False
    cygrpc = sys.modules.get("grpc._cython.cygrpc")
    return not getattr(cygrpc, "g_gevent_activated", True)


def _thread_runner() -> Callable[[Callable[[], None], Callable[[], None]], None] | None:
    """What runs a function in a native thread and waits; None without greenlets.

    Its second argument is a function that may be called now and then while it waits.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return _under_gevent
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return _under_eventlet
    return None


def _under_gevent(act: Callable[[], None], _meanwhile: Callable[[], None]) -> None:
    import_module("gevent").get_hub().threadpool.apply(act)


def _under_eventlet(act: Callable[[], None], meanwhile: Callable[[], None]) -> None:
    """Run `act` in a thread of its own: eventlet's pool waits at exit for threads that hang."""
    eventlet = import_module("eventlet")
    thread = eventlet.patcher.original("threading").Thread(target=act, daemon=True)
    thread.start()
    while thread.is_alive():
        eventlet.sleep(_POLL)
        meanwhile()
    meanwhile()


def start_native_thread(act: Callable[[], None], name: str) -> None:
    """Run `act` in a daemon thread that goes on while the greenlets of this process are blocked."""
    gevent = sys.modules.get("gevent.monkey")
    eventlet = sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        gevent.get_original("_thread", "start_new_thread")(act, ())
    elif eventlet is not None and eventlet.is_monkey_patched("thread"):
        eventlet.original("threading").Thread(target=act, name=name, daemon=True).start()
    else:
        threading.Thread(target=act, name=name, daemon=True).start()
