"""Batches of celery-batches on their way to the pool.

celery-batches does not ask the pool whether a batch was lost with its process: that is recorded by
the main process here.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from otel_queue_plugins.celery import outcomes
from otel_queue_plugins.celery.main_process import exit_times
from otel_queue_plugins.celery.main_process.exit_times import ExitTimes
from otel_queue_plugins.celery.main_process.pool_deliveries import PoolDeliveries
from otel_queue_plugins.celery.main_process.receipts import Receipts
from otel_queue_plugins.celery.pools import is_prefork, time_limit
from otel_queue_plugins.core.safety import do_nothing, never_raises


class BatchFlushes:
    """Wrappers of the functions that give batches to the pool."""

    def __init__(
        self, receipts: Receipts, deliveries: PoolDeliveries, exit_times: ExitTimes
    ) -> None:
        self._receipts = receipts
        self._deliveries = deliveries
        self._exit_times = exit_times
        self._in_pool: dict[Any, list[Any]] = {}

    def flush(self, wrapped: Any, task: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Batches.flush(requests)`, which gives a batch to the pool."""
        requests = list(args[0] if args else kwargs.get("requests", ()))
        pool = getattr(task, "_pool", None)
        for request in requests:
            self._receipts.attach(request, time_limit(task, pool))
        job = wrapped(*args, **kwargs)
        if is_prefork(pool):
            self._watch(job, requests)
        return job

    @never_raises(do_nothing)
    def record_remaining(self) -> None:
        """Record the batches in progress as lost, as the worker has ended."""
        while self._in_pool:
            job, requests = self._in_pool.popitem()
            if not job.ready():
                self._record_lost(job, requests, None)

    @never_raises(do_nothing)
    def _watch(self, job: Any, requests: list[Any]) -> None:
        """Have `job`, of billiard, report a loss; it is None if the pool has stopped."""
        if job is None:
            return
        reference, callback = weakref.ref(job), job._callback  # noqa: SLF001 - see `_set_callbacks`

        def done(result: Any) -> None:
            self._in_pool.pop(reference(), None)
            callback(result)

        def lost(info: Any) -> None:
            self._record_lost(reference(), self._in_pool.pop(reference(), requests), info)

        self._in_pool[job] = requests
        _set_callbacks(job, done, lost)

    @never_raises(do_nothing)
    def _record_lost(self, job: Any, requests: list[Any], info: Any) -> None:
        pid, accepted = job._worker_pid, job._time_accepted  # noqa: SLF001 - `Request` gets both
        if accepted is None:
            return  # no process has begun it
        for request in requests:
            request.worker_pid = pid
            request.time_start = time.time() - (time.monotonic() - accepted)
        ended_at = self._ended_at(job, requests[0], info)
        for request in reversed(requests):
            self._deliveries.record_lost(request, info, ended_at)

    def _ended_at(self, job: Any, first: Any, info: Any) -> float | None:
        delivery, _ = self._deliveries.to_delivery(first)
        return (
            exit_times.time_limit_reached_at(first, outcomes.exception_of(info))
            or self._exit_times.read(delivery.span_id)
            or exit_times.loss_noticed_at(job)
        )


def _set_callbacks(job: Any, done: Callable[[Any], None], lost: Callable[[Any], None]) -> None:
    """Set both callbacks of `job`, unless it has an error callback; celery-batches sets none."""
    if job._error_callback is None:  # noqa: SLF001 - the arguments of its constructor
        job._callback, job._error_callback = done, lost  # noqa: SLF001 - likewise
