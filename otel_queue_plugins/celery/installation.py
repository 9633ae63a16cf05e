"""Put wrappers and receivers of signals in place, for each kind of process, and take them back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from celery import __version__, signals

from otel_queue_plugins.celery import patches, pools
from otel_queue_plugins.celery.parts import Parts
from otel_queue_plugins.core.patching import Table, apply, replace
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.sdk import relay


class Installation:
    """What is in place in this process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._undo: list[Callable[[], object]] = []
        self._has_batches = False

    def install_in_every_process(self) -> None:
        """Put in place what producers and workers need."""
        self._connect_receivers()
        self._apply(patches.of_every_process(self._parts))
        self.install_in_batches()

    def install_in_worker(self, **_: Any) -> None:
        """Put in place what the main process of a worker needs; a receiver of `worker_init`."""
        self._apply(patches.of_main_process(self._parts, self))
        self._parts.shared.exit_times.share()
        self.install_in_batches()

    @never_raises(do_nothing)
    def install_in_batches(self, **_: Any) -> None:
        """Put in place what celery-batches needs, once the app has imported that."""
        package = sys.modules.get("celery_batches")
        if package is None or self._has_batches:
            return
        self._has_batches = True
        self._apply(patches.of_batches(self._parts))
        # A pool pickles a function by its name, and compares it in both modules.
        patched = sys.modules["celery_batches.trace"].apply_batches_task
        self._undo.append(replace(package, "apply_batches_task", patched))

    @never_raises(do_nothing)
    def install_in_pool(self, worker: Any) -> None:
        """Put in place what the kind of pool of `worker` needs."""
        module = pools.pool_module(worker)
        if module == pools.PREFORK:
            self._apply(patches.of_prefork(self._parts))
        if module in {None, *pools.RUN_BY_MAIN_THREAD}:
            return
        table = patches.of_threads(self._parts)
        self._apply({name: rows for name, rows in table.items() if name in sys.modules})

    @never_raises(do_nothing)
    def install_for_polls(self, worker: Any) -> None:
        """Put in place what records the polls of `worker`, if they are to be recorded."""
        fetches = self._parts.fetches
        if not fetches.are_recorded:
            return
        fetches.watch(worker.app)
        has_redis = find_spec("redis") is not None
        table = patches.of_polls(self._parts)
        self._apply({name: table[name] for name in table if has_redis or "redis" not in name})

    def uninstall(self) -> None:
        """Take back what is in place, the newest first."""
        while self._undo:
            self._undo.pop()()

    def run_worker(self, wrapped: Any, worker: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `WorkController.start`, which returns, or raises, when the worker has ended."""
        self.install_in_pool(worker)
        self.install_for_polls(worker)
        self.open_relay(worker)
        try:
            return self._parts.workers.run_suppressed(wrapped, worker, args, kwargs)
        finally:
            self._record_remaining()

    def shut_down_worker(
        self, wrapped: Any, _worker: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `WorkController._shutdown`, which returns when the pool has ended."""
        try:
            return wrapped(*args, **kwargs)
        finally:
            self._record_remaining()

    @never_raises(do_nothing)
    def open_relay(self, worker: Any) -> None:
        """Open the relay to pool processes, if `worker` will fork them."""
        if pools.will_fork(worker):
            relay.open_relay()

    def _record_remaining(self) -> None:
        self._parts.requests.record_remaining()
        self._parts.batch_flushes.record_remaining()

    def _connect_receivers(self) -> None:
        parts, workers, http = self._parts, self._parts.workers, self._parts.worker_http
        http.register_command()
        for signal, receiver in (
            (signals.beat_init, parts.sends.beat_init),
            (signals.task_unknown, parts.refused_messages.task_unknown),
            (signals.task_rejected, parts.refused_messages.task_rejected),
            (signals.worker_init, workers.worker_init),
            (signals.worker_ready, parts.other_tracers.check),
            (signals.worker_init, http.worker_init),
            (signals.worker_init, self.install_in_worker),
            (signals.worker_ready, workers.worker_ready),
            (signals.worker_ready, http.worker_ready),
            (signals.worker_shutting_down, http.worker_stopping),
            (signals.worker_process_init, self.install_in_batches),
            (signals.worker_process_init, workers.worker_process_init),
            (signals.worker_process_shutdown, workers.worker_process_shutdown),
            (signals.worker_shutdown, workers.worker_shutdown),
            (signals.worker_shutdown, http.worker_shutdown),
        ):
            signal.connect(receiver, weak=False)
            self._undo.append(partial(signal.disconnect, receiver))

    def _apply(self, table: Table) -> None:
        self._undo.extend(apply(table, __version__))
