"""Batches of celery-batches on their way to the pool, in the process that receives messages.

celery-batches asks nobody what became of a batch: what a process died of is lost, and told here.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from otel_queue_plugins.celery import outcomes
from otel_queue_plugins.celery.main_process import exits
from otel_queue_plugins.celery.main_process.exits import Exits
from otel_queue_plugins.celery.main_process.pool_deliveries import Ends
from otel_queue_plugins.celery.main_process.receipt import (
    Receiving,
    runs_elsewhere,
    time_limit,
)
from otel_queue_plugins.core.safety import do_nothing, never_raises


class Flushes:
    """The main process's side of `Batches`."""

    def __init__(self, receiving: Receiving, ends: Ends, noted: Exits) -> None:
        self._receiving = receiving
        self._ends = ends
        self._exits = noted
        self._waiting: dict[Any, list[Any]] = {}
        self.strategy = receiving.strategy

    def flush(self, wrapped: Any, task: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Batches.flush(requests)`, which hands a batch to the pool."""
        requests = list(args[0] if args else kwargs.get("requests", ()))
        pool = getattr(task, "_pool", None)
        for request in requests:
            self._receiving.give_receipt(request, time_limit(task, pool))
        job = wrapped(*args, **kwargs)
        if runs_elsewhere(pool):
            self._watch(job, requests)
        return job

    @never_raises(do_nothing)
    def record_the_rest(self) -> None:
        """The worker has ended, and took with it what was in progress."""
        while self._waiting:
            job, requests = self._waiting.popitem()
            if not job.ready():
                self._lost(job, requests, None)

    @never_raises(do_nothing)
    def _watch(self, job: Any, requests: list[Any]) -> None:
        """`job` is billiard's, None if the pool takes no more; who asks is told of a loss."""
        if job is None:
            return
        known, returned = weakref.ref(job), job._callback  # noqa: SLF001 - see `_ask`

        def done(result: Any) -> None:
            self._waiting.pop(known(), None)
            returned(result)

        def lost(info: Any) -> None:
            self._lost(known(), self._waiting.pop(known(), requests), info)

        self._waiting[job] = requests
        _ask(job, done, lost)

    @never_raises(do_nothing)
    def _lost(self, job: Any, requests: list[Any], info: Any) -> None:
        pid, accepted = job._worker_pid, job._time_accepted  # noqa: SLF001 - `Request` is told so
        if accepted is None:
            return  # no process had it
        for request in requests:
            request.worker_pid = pid
            request.time_start = time.time() - (time.monotonic() - accepted)
        ended_at = self._ended_at(job, requests[0], info)
        for request in reversed(requests):
            self._ends.lose(request, info, ended_at)

    def _ended_at(self, job: Any, first: Any, info: Any) -> float | None:
        delivery, _ = self._ends.facts(first)
        return (
            exits.time_is_up(first, outcomes.exception_of(info))
            or self._exits.noted(delivery.span_id)
            or exits.loss_noticed(job)
        )


def _ask(job: Any, done: Callable[[Any], None], lost: Callable[[Any], None]) -> None:
    """Have `job` call one of the two. celery-batches asks it for results only."""
    if job._error_callback is None:  # noqa: SLF001 - the arguments of its constructor
        job._callback, job._error_callback = done, lost  # noqa: SLF001 - likewise
