"""Set up providers when they are first needed, once in a process, from the environment.

Each signal (traces, metrics, logs) is set up for itself, at the first of these: an instrumented
message, the start of a worker, `ensure_providers()`, or any span, measurement or log record.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.sdk import global_providers, greenlets, relay, validation
from otel_queue_plugins.sdk.config import declarative, plan, scraping
from otel_queue_plugins.sdk.config.reader import SIGNALS
from otel_queue_plugins.sdk.global_providers import lock_of_this_process
from otel_queue_plugins.sdk.process import exit_handlers, fork_repair, forks, sigterm
from otel_queue_plugins.sdk.providers import first_use, startup_log

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from otel_queue_plugins.sdk.config.plan import Plan

logger = logging.getLogger("otel_queue_plugins")

# Longer than a set-up takes on a slow machine. After that a thread goes on without providers.
_SECONDS_TO_WAIT: Final = 10.0
# An application may create an observable instrument at its import. It then has so much time to set
# a meter provider of its own.
_SECONDS_TO_FIRST_COLLECTION: Final = 5.0


class _Progress:
    """How far the set-up of one process has come. `pid` is that of the process."""

    __slots__ = ("done", "expects_collection", "is_complete", "pid", "plan", "thread")

    def __init__(self) -> None:
        self.start_anew(0)

    def start_anew(self, pid: int) -> None:
        """Begin again, in a process that was forked."""
        self.done: set[str] = set()
        self.is_complete = False  # all signals are done
        self.plan: Plan | None = None
        self.expects_collection = False
        self.thread: int | None = None  # the one that is setting up
        self.pid = pid


_progress: Final = _Progress()


def ensure_providers(*signals: str) -> None:
    """Set up providers in this process; later calls have no effect.

    For each signal, if no global provider is set, and `OTEL_*` names an endpoint or an exporter, a
    provider is built and set. Nothing is set up in the process that loads an application for
    uWSGI's workers, if its forks do not run Python's hooks. Never raises.

    Args:
        *signals: `traces`, `metrics`, `logs`; all of them if none is given.
    """
    if _progress.pid == os.getpid() and (
        _progress.is_complete if not signals else _progress.done.issuperset(signals)
    ):
        return
    _set_up_missing(signals or SIGNALS)


def endpoint() -> str | None:
    """Where this process sends spans, else metrics, without passwords; None if it does not."""
    return startup_log.endpoint(_progress.plan) if _progress.pid == os.getpid() else None


def set_up_on_first_use() -> None:
    """Call `ensure_providers` for a signal before its first use in this process and its forks.

    Imports neither the SDK nor an exporter.
    """
    forks.register_hooks()
    forks.call_in_child(_after_fork)
    if plan.is_off(os.environ):
        return
    if any(plan.is_asked_for(os.environ, signal) for signal in SIGNALS):
        sigterm.flush_before_default_action()
    if declarative.is_named(os.environ):
        # Not before `validate`: it imports the propagators of the environment.
        from otel_queue_plugins.sdk.providers import declared

        declared.use_propagator()
    for signal in SIGNALS:
        if not (_progress.pid == os.getpid() and signal in _progress.done):
            first_use.watch(signal, ensure_providers, _schedule_collection)
    if plan.is_asked_for(os.environ, "logs"):
        _export_logs()


def prepare_relay(make: Callable[[Plan], tuple[str, ...]]) -> None:
    """Before a pool is forked: call `make`, which builds providers for all its processes.

    `make` returns the signals that it has built providers for. In each process they become the
    global ones when something is recorded, unless the application has set others by then. Raises
    what `make` raises.
    """
    if plan.is_off(os.environ):
        return
    with lock_of_this_process():
        forks.register_hooks()
        _delete_empty(os.environ)
        if _progress.pid != os.getpid():
            _progress.start_anew(os.getpid())
        _progress.plan = _progress.plan or plan.read(os.environ)
        signals = make(_progress.plan)
    if signals:
        from otel_queue_plugins.sdk.providers import factory

        factory.dropped().when_added = partial(ensure_providers, "metrics")
    if "logs" in signals:
        _export_logs()


def _export_logs() -> None:
    try:
        from otel_queue_plugins.sdk.logs import bridge
    except ImportError:  # logs have a private name in the API, which may move them
        return
    bridge.export_logs(_has_own_logger_provider)


def _has_own_logger_provider() -> bool:
    """Whether the logger provider was set up here; it is set up now if need be."""
    ensure_providers("logs")
    return global_providers.is_own("logs")


def _set_up_missing(signals: tuple[str, ...]) -> None:
    lock = lock_of_this_process()
    if not forks.runs_hooks() or not lock.acquire(timeout=_SECONDS_TO_WAIT):
        return
    try:
        if _progress.pid != os.getpid():
            _progress.start_anew(os.getpid())
        if _progress.thread is None:  # otherwise the set-up itself has recorded something
            _progress.thread = threading.get_ident()
            _set_up_all([signal for signal in signals if signal not in _progress.done])
    finally:
        lock.release()


def _set_up_all(signals: list[str]) -> None:
    try:
        for signal in signals:
            _set_up_or_log(signal)
            _progress.done.add(signal)
            first_use.unwatch(signal)
        _progress.is_complete = _progress.done.issuperset(SIGNALS)
        startup_log.log_once(_progress.plan)
    finally:
        _progress.thread = None


def _set_up_or_log(signal: str) -> None:
    try:
        _set_up(signal, os.environ)
    except Exception as error:
        reason = scraping.describe(error)
        line = "%s could not be set up; the application runs without: %s"
        logger.error(line, signal, reason)  # noqa: TRY400 - the traceback follows at DEBUG
        logger.debug("the failure of %s:", signal, exc_info=True)


def _set_up(signal: str, environ: MutableMapping[str, str]) -> None:
    forks.register_hooks()
    if not global_providers.has_provider(signal):
        if signal in global_providers.OWN:
            global_providers.set_global(signal, global_providers.OWN[signal])
        elif not plan.is_off(environ):
            _build(signal, environ)
    elif not global_providers.is_own(signal):
        greenlets.warn_of_grpc(global_providers.current_provider(signal))
    exit_handlers.flush_at_exit()


def _build(signal: str, environ: MutableMapping[str, str]) -> None:
    if _progress.plan is None:
        _progress.plan = plan.read(environ)
    validation.report(validation.about(signal, _progress.plan.problems))
    if signal in _progress.plan.exporters:
        _delete_empty(environ)
        from otel_queue_plugins.sdk.providers import factory

        dropped = factory.install(signal, _progress.plan)
        dropped.when_added = partial(ensure_providers, "metrics")
        if signal == "logs":
            _export_logs()


def _after_fork() -> None:
    """In a forked child: set our providers again only when something is recorded.

    Until then the application may set its own providers, as in any process.
    """
    for signal, provider in global_providers.OWN.items():
        fork_repair.unset_global(signal, provider)
        first_use.watch(signal, ensure_providers, _schedule_collection)
    if _progress.expects_collection:
        _schedule_collection()


def _schedule_collection() -> None:
    """Set up metrics soon: an observable instrument was created, and needs a reader."""
    if _progress.pid != os.getpid():
        _progress.start_anew(os.getpid())
    if (
        _progress.expects_collection
        or threading.get_ident() == _progress.thread
        or relay.is_forked()
    ):
        return  # with a relay the instruments of the exporting process are collected
    if plan.is_asked_for(os.environ, "metrics"):
        _progress.expects_collection = True
        timer = threading.Timer(_SECONDS_TO_FIRST_COLLECTION, ensure_providers, ("metrics",))
        timer.daemon = True
        timer.start()


def _delete_empty(environ: MutableMapping[str, str]) -> None:
    """Delete empty variables of OpenTelemetry: some make the SDK fail, though empty means unset.

    An empty endpoint of a signal stays: it switches the signal off, also in processes that are
    started by this one.
    """
    for name in [name for name in environ if name.startswith("OTEL_")]:
        if not environ[name].strip() and not name.endswith(("S_ENDPOINT",)):
            del environ[name]
