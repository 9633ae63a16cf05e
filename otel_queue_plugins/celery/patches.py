"""What is put in place in the processes of a worker, when they start or when we come to them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import celery
from billiard import get_start_method
from billiard.process import current_process
from celery.app.task import Task

from otel_queue_plugins.celery import role
from otel_queue_plugins.celery.batches import Batches
from otel_queue_plugins.celery.deliveries import Running
from otel_queue_plugins.celery.main_process.batch_flushes import Flushes
from otel_queue_plugins.celery.main_process.exits import Exits
from otel_queue_plugins.celery.main_process.receipt import runs_elsewhere
from otel_queue_plugins.celery.main_process.refused import Refused
from otel_queue_plugins.celery.main_process.undelivered import MainProcess
from otel_queue_plugins.celery.sends import Publishing
from otel_queue_plugins.celery.workers import Lifecycle
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.sdk import relay

Wrap = Callable[[str, str | None, str, Any], None]

_PREFORK: Final = "celery.concurrency.prefork"
_RUN_BY_ITS_MAIN_THREAD: Final = (_PREFORK, "celery.concurrency.solo")
_RUN_BY_OTHERS: Final = (
    ("celery.concurrency.base", "apply_target"),
    ("celery.concurrency.thread", "apply_target"),
    ("celery.concurrency.gevent", "apply_timeout"),
)
_SIGNALS: Final = ("heartbeat_sent", "worker_ready", "worker_shutdown", "worker_shutting_down")

_log = logging.getLogger("otel_queue_plugins")


class ProcessSetup:
    """`wrap(module, class or None, function, wrapper)` puts a wrapper around a function.

    What is given to `undo` is called when all is taken back.
    """

    def __init__(
        self,
        wrap: Wrap,
        undo: Callable[[Callable[[], object]], None],
        *,
        batches: Batches,
        exits: Exits,
        lifecycle: Lifecycle,
        main: MainProcess,
        publishing: Publishing,
        refused: Refused,
        running: Running,
    ) -> None:
        self._wrap = wrap
        self._undo = undo
        self._batches = batches
        self._flushes = Flushes(main.receiving, main.ends, exits)
        self._has_batches = False
        self._exits = exits
        self._lifecycle = lifecycle
        self._main = main
        self._publishing = publishing
        self._refused = refused
        self._running = running

    def install_in_worker(self, **_: Any) -> None:
        """Put in place the wrappers for the process that receives messages."""
        request, consumer = "celery.worker.request", "celery.worker.consumer.consumer"
        main, refused, quietly = self._main, self._refused, self._lifecycle.quietly
        self._wrap(request, "Request", "on_failure", main.on_failure)
        self._wrap(request, "Request", "on_timeout", main.on_timeout)
        if celery.VERSION >= (5, 7):  # before, Celery runs the task that it has rejected
            self._wrap(request, "Request", "reject", main.reject)
        self._wrap(request, "Request", "_announce_cancelled", main.announce_cancelled)
        self._wrap(request, "Request", "_announce_revoked", main.announce_revoked)
        self._wrap(request, "Request", "_success_was_stored", main.decisions.success_was_stored)
        self._wrap(request, "Request", "_retry_worker_lost", main.decisions.retry_worker_lost)
        self._wrap("celery.worker.strategy", None, "create_request_cls", main.create_request_cls)
        self._wrap("celery.worker.strategy", None, "default", main.strategy)
        self._wrap("celery.worker.worker", "WorkController", "start", self.work)
        self._wrap("celery.worker.worker", "WorkController", "_shutdown", self.shut_down)
        self._wrap("celery.worker.pidbox", "gPidbox", "loop", quietly)
        self._wrap("kombu.asynchronous.timer", "Entry", "__call__", quietly)
        self._wrap(consumer, "Consumer", "on_unknown_task", refused.on_unknown_task)
        self._wrap(consumer, "Consumer", "on_unknown_message", refused.on_unreadable)
        self._wrap(consumer, "Consumer", "on_invalid_task", refused.on_unreadable)
        self._wrap(consumer, "Consumer", "on_decode_error", refused.on_decode_error)
        self._wrap(consumer, None, "build_tracer", self._running.build_tracer)
        self._exits.share()
        self.install_in_batches()
        self._wrap_method("celery.signals", "task_received", "send", main.task_received)
        for name in _SIGNALS:
            self._wrap_method("celery.signals", name, "send", self._lifecycle.aloud)

    @never_raises(do_nothing)
    def install_in_batches(self, **_: Any) -> None:
        """For celery-batches, if the app has imported it by now."""
        known = sys.modules.get("celery_batches")
        if known is None or self._has_batches:
            return
        self._has_batches = True
        batches, flushes = self._batches, self._flushes
        inside, backend = "celery_batches.trace", "celery.backends.base"
        self._wrap("celery_batches", "Batches", "Strategy", flushes.strategy)
        self._wrap("celery_batches", "Batches", "flush", flushes.flush)
        self._wrap(inside, None, "apply_batches_task", batches.apply)
        self._share(known, "apply_batches_task", sys.modules[inside])
        self._wrap_method(inside, "logger", "error", batches.error)
        self._wrap(backend, "Backend", "mark_as_done", batches.mark_as_done)
        self._wrap(backend, "Backend", "mark_as_failure", batches.mark_as_failure)
        self._wrap(backend, "Backend", "mark_as_retry", batches.mark_as_retry)

    def _share(self, module: Any, name: str, other: Any) -> None:
        """Have in `module` what is in `other`: a pool finds a function by its name."""
        before = getattr(module, name)
        setattr(module, name, getattr(other, name))
        self._undo(lambda: setattr(module, name, before))

    def _wrap_method(self, module: str, owner: str, name: str, wrapper: Any) -> None:
        """Put `wrapper` around a method of the object `owner`, and of no other of its class."""
        known = getattr(sys.modules[module], owner)
        vars(known).setdefault(name, getattr(known, name))
        self._wrap(module, owner, name, wrapper)

    @never_raises(do_nothing)
    def _install_in_pool(self, worker: Any) -> None:
        """Threads and greenlets start with no context, and acknowledge their tasks in that."""
        kind = getattr(worker, "pool_cls", None)
        if getattr(kind, "__module__", None) == _PREFORK:
            self._wrap(_PREFORK, None, "process_initializer", self._lifecycle.initialize_process)
        if getattr(kind, "__module__", None) in {None, *_RUN_BY_ITS_MAIN_THREAD}:
            return
        for module, name in _RUN_BY_OTHERS:
            if module in sys.modules:
                self._wrap(module, None, name, self._lifecycle.quietly)

    def work(self, wrapped: Any, worker: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `WorkController.start`, which returns, or raises, when the worker has ended."""
        self._install_in_pool(worker)
        if _forks_its_pool(worker):
            relay.open_relay()
        try:
            return self._lifecycle.quietly(wrapped, worker, args, kwargs)
        finally:
            self._record_the_rest()

    def shut_down(self, wrapped: Any, _worker: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `WorkController._shutdown`, which returns when the pool has ended."""
        try:
            return wrapped(*args, **kwargs)
        finally:
            self._record_the_rest()

    def _record_the_rest(self) -> None:
        self._main.record_the_rest()
        self._flushes.record_the_rest()

    @never_raises(do_nothing)
    def join(self) -> None:
        """Do at once what signals would have asked for that this process has had already."""
        found = role.current()
        if found.kind == "worker":
            self._join_worker(found.worker, runs_here=found.runs_here)
        elif found.kind == "pool process":
            self._join_pool_process()
        elif found.kind == "beat":
            self._publishing.beat_init()

    def _join_worker(self, worker: Any, *, runs_here: bool) -> None:
        self._lifecycle.worker_init(worker)
        self.install_in_worker()
        self._install_in_pool(worker)
        if runs_here:
            self._lifecycle.be_quiet()
        consumer = getattr(worker, "consumer", None)
        if consumer is None or not consumer.strategies:
            if runs_here and _forks_its_pool(worker):
                relay.open_relay()
            return
        self._renew_strategies(consumer)
        if consumer.init_callback is None:
            self._lifecycle.worker_ready(consumer)
        if runs_elsewhere(worker.pool):
            _log.warning(
                "otel_queue_plugins: instrument() was called when the worker's processes had "
                "been started; what runs in them is not traced. Call it where the app is made, "
                "or not later than in worker_init."
            )

    def _renew_strategies(self, consumer: Any) -> None:
        """What handles messages from now on. Who brings a strategy of his own keeps it."""
        for name, task in list(consumer.app.tasks.items()):
            if task.Strategy == Task.Strategy:
                consumer.strategies[name] = task.start_strategy(consumer.app, consumer)

    def _join_pool_process(self) -> None:
        self._lifecycle.worker_process_init()
        first = getattr(current_process(), "index", 0) == 0
        if first and not os.environ.get("FORKED_BY_MULTIPROCESSING"):
            _log.warning(
                "otel_queue_plugins: instrument() was called in a process of the worker's pool "
                "and not in the one that started it; tasks that are killed, revoked, expired or "
                "unknown are not seen. Call it where the app is made."
            )


@never_raises(bool)
def _forks_its_pool(worker: Any) -> bool:
    """Whether `worker`, whose pool has not started yet, will run its tasks in children by fork."""
    if getattr(getattr(worker, "pool_cls", None), "__module__", None) != _PREFORK:
        return False
    method = getattr(worker, "pool_start_method", None) or "fork"
    return bool(method == get_start_method() == "fork")
