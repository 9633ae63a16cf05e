"""Providers when they are needed: found, or built once in a process from the environment.

Each signal (traces, metrics, logs) is set up for itself, by the first of these: a message of ours,
a worker that starts, `ensure_providers()`, or anybody's first span, measurement or log record.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.sdk import relay
from otel_queue_plugins.sdk.config import plan, validation
from otel_queue_plugins.sdk.config.environment import SIGNALS
from otel_queue_plugins.sdk.diagnosis import startup_log
from otel_queue_plugins.sdk.export import scraping
from otel_queue_plugins.sdk.process import exit_handlers, fork_repair, forks, greenlets, sigterm
from otel_queue_plugins.sdk.providers import first_use, global_providers
from otel_queue_plugins.sdk.providers.global_providers import lock_of_this_process

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from otel_queue_plugins.sdk.config.plan import Plan

logger = logging.getLogger("otel_queue_plugins")

# Longer than a set-up takes on a slow machine. Who has waited in vain goes on without.
_LONGEST_WAIT: Final = 10.0
# What an application has time for to set its own meter provider after it made an observable
# instrument at its import.
_SECONDS_TO_FIRST_READING: Final = 5.0


class _Process:
    """How far this process has come. `pid` is that of the process which wrote the rest."""

    __slots__ = ("done", "expects_reading", "is_whole", "pid", "plan", "thread")

    def __init__(self) -> None:
        self.start_anew(0)

    def start_anew(self, pid: int) -> None:
        """Know nothing of the process this one was forked from."""
        self.done: set[str] = set()
        self.is_whole = False  # all signals are done
        self.plan: Plan | None = None
        self.expects_reading = False
        self.thread: int | None = None  # the one that sets up
        self.pid = pid


_process: Final = _Process()


def ensure_providers(*signals: str) -> None:
    """Have providers in this process, from now on; does nothing after the first call in it.

    For each signal: where nobody has set a global provider and `OTEL_*` names an endpoint or an
    exporter, one is built and set. Where nothing is named, nothing happens; nor in the process
    that loads an application for uWSGI's workers, if its forks run no hooks of Python. Never
    raises.

    Args:
        *signals: `traces`, `metrics`, `logs`; all of them if none is given.
    """
    if _process.pid == os.getpid() and (
        _process.is_whole if not signals else _process.done.issuperset(signals)
    ):
        return
    _prepare(signals or SIGNALS)


def set_up_on_first_use() -> None:
    """Call `ensure_providers` for a signal before anybody's first use of it in this process.

    And in those forked from it. Imports neither the SDK nor an exporter.
    """
    forks.watch()
    forks.when_forked(_start_anew)
    if plan.is_off(os.environ):
        return
    if any(plan.is_asked_for(os.environ, signal) for signal in SIGNALS):
        sigterm.flush_before_default_action()
    for signal in SIGNALS:
        if not (_process.pid == os.getpid() and signal in _process.done):
            first_use.watch(signal, ensure_providers, _expect_reading)
    if plan.is_asked_for(os.environ, "logs"):
        _send_logs()


def prepare_relay(make: Callable[[Plan], tuple[str, ...]]) -> None:
    """Before a pool is forked: let `make` build providers for all its processes.

    It returns the signals it has built them for. They become the global ones when something is
    recorded, in each process, unless the application has set others by then. Raises what it does.
    """
    if plan.is_off(os.environ):
        return
    with lock_of_this_process():
        forks.watch()
        _forget_empty(os.environ)
        if _process.pid != os.getpid():
            _process.start_anew(os.getpid())
        _process.plan = _process.plan or plan.read(os.environ)
        signals = make(_process.plan)
    if signals:
        from otel_queue_plugins.sdk.providers import factory

        factory.dropped().when_added = partial(ensure_providers, "metrics")
    if "logs" in signals:
        _send_logs()


def _send_logs() -> None:
    try:
        from otel_queue_plugins.sdk.logs import bridge
    except ImportError:  # the API keeps logs under a private name, and may move them
        return
    bridge.export_logs(_takes_logs)


def _takes_logs() -> bool:
    """Whether records of Python's `logging` go to a logger provider of ours, built now if due."""
    ensure_providers("logs")
    return global_providers.is_own("logs")


def _prepare(signals: tuple[str, ...]) -> None:
    lock = lock_of_this_process()
    if not forks.runs_hooks() or not lock.acquire(timeout=_LONGEST_WAIT):
        return
    try:
        if _process.pid != os.getpid():
            _process.start_anew(os.getpid())
        if _process.thread is None:  # else this is a record made while setting up
            _process.thread = threading.get_ident()
            _set_up_all([signal for signal in signals if signal not in _process.done])
    finally:
        lock.release()


def _set_up_all(signals: list[str]) -> None:
    try:
        for signal in signals:
            _try(signal)
            _process.done.add(signal)
            first_use.forget(signal)
        _process.is_whole = _process.done.issuperset(SIGNALS)
        startup_log.announce(_process.plan)
    finally:
        _process.thread = None


def _try(signal: str) -> None:
    try:
        _set_up(signal, os.environ)
    except Exception as error:
        why = scraping.words(error)
        line = "%s could not be set up; the application runs without: %s"
        logger.error(line, signal, why)  # noqa: TRY400 - one line; the rest is for those who ask
        logger.debug("the failure of %s:", signal, exc_info=True)


def _set_up(signal: str, environ: MutableMapping[str, str]) -> None:
    forks.watch()
    if not global_providers.has_provider(signal):
        if signal in global_providers.OWN:
            global_providers.set_global(signal, global_providers.OWN[signal])
        elif not plan.is_off(environ):
            _build(signal, environ)
    elif not global_providers.is_own(signal):
        greenlets.warn_of_grpc(global_providers.current_provider(signal))
    exit_handlers.flush_at_end()


def _build(signal: str, environ: MutableMapping[str, str]) -> None:
    if _process.plan is None:
        _process.plan = plan.read(environ)
    validation.report(validation.about(signal, _process.plan.problems))
    if signal in _process.plan.exporters:
        _forget_empty(environ)
        from otel_queue_plugins.sdk.providers import factory

        dropped = factory.install(signal, _process.plan)
        dropped.when_added = partial(ensure_providers, "metrics")
        if signal == "logs":
            _send_logs()


def _start_anew() -> None:
    """In a forked child: providers of ours are used again when something is recorded here.

    Until then the application may set its own, as it may in any process.
    """
    for signal, provider in global_providers.OWN.items():
        fork_repair.unset_global(signal, provider)
        first_use.watch(signal, ensure_providers, _expect_reading)
    if _process.expects_reading:
        _expect_reading()


def _expect_reading() -> None:
    """An observable instrument was made: somebody wants it read, and nobody may record anything."""
    if _process.pid != os.getpid():
        _process.start_anew(os.getpid())
    if _process.expects_reading or threading.get_ident() == _process.thread or relay.is_forked():
        return  # a child's are not asked: those of the process that exports are
    if plan.is_asked_for(os.environ, "metrics"):
        _process.expects_reading = True
        timer = threading.Timer(_SECONDS_TO_FIRST_READING, ensure_providers, ("metrics",))
        timer.daemon = True
        timer.start()


def _forget_empty(environ: MutableMapping[str, str]) -> None:
    """Empty means unset, but the SDK fails on `OTEL_METRICS_EXEMPLAR_FILTER=""` and others.

    An empty endpoint of a signal stays: it says "off", also to processes started from here.
    """
    for name in [name for name in environ if name.startswith("OTEL_")]:
        if not environ[name].strip() and not name.endswith(("S_ENDPOINT",)):
            del environ[name]
