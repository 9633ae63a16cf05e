"""What is put in place in the processes of a worker, when they start or when we come to them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from billiard import get_start_method
from billiard.process import current_process
from celery.app.task import Task

from otel_queue_plugins.celery import patches, role
from otel_queue_plugins.celery.batches import Batches
from otel_queue_plugins.celery.deliveries import Running
from otel_queue_plugins.celery.main_process.batch_flushes import Flushes
from otel_queue_plugins.celery.main_process.exits import Exits
from otel_queue_plugins.celery.main_process.receipt import runs_elsewhere
from otel_queue_plugins.celery.main_process.refused import Refused
from otel_queue_plugins.celery.main_process.undelivered import MainProcess
from otel_queue_plugins.celery.sends import Publishing
from otel_queue_plugins.celery.workers import Lifecycle
from otel_queue_plugins.core.patching import Table, replace
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.sdk import relay

_PREFORK: Final = "celery.concurrency.prefork"
_RUN_BY_ITS_MAIN_THREAD: Final = (_PREFORK, "celery.concurrency.solo")

_log = logging.getLogger("otel_queue_plugins")


class ProcessSetup:
    """`apply` patches what is in a table; what is given to `undo` is called to take all back."""

    def __init__(
        self,
        apply: Callable[[Table], None],
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
        self._apply = apply
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
        self._apply(
            patches.of_main_process(self._main, self._running, self._refused, self, self._lifecycle)
        )
        self._exits.share()
        self.install_in_batches()

    @never_raises(do_nothing)
    def install_in_batches(self, **_: Any) -> None:
        """For celery-batches, if the app has imported it by now."""
        package = sys.modules.get("celery_batches")
        if package is None or self._has_batches:
            return
        self._has_batches = True
        self._apply(patches.of_batches(self._batches, self._flushes))
        # A pool finds a function by its name, and checks that it is the same in both modules.
        patched = sys.modules["celery_batches.trace"].apply_batches_task
        self._undo(replace(package, "apply_batches_task", patched))

    @never_raises(do_nothing)
    def _install_in_pool(self, worker: Any) -> None:
        kind = getattr(worker, "pool_cls", None)
        if getattr(kind, "__module__", None) == _PREFORK:
            self._apply(patches.of_prefork(self._lifecycle))
        if getattr(kind, "__module__", None) in {None, *_RUN_BY_ITS_MAIN_THREAD}:
            return
        pools = patches.of_threads(self._lifecycle)
        self._apply({name: rows for name, rows in pools.items() if name in sys.modules})

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
