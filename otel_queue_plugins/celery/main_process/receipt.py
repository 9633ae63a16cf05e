"""A worker receives a message: when that was, and what the process that runs the task must know."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from otel_queue_plugins.celery.translation import RECEIPT_KEY
from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises
from otel_queue_plugins.core.telemetry import QueueTelemetry

_RECEIVED_AT: Final = "otel_queue_received_at"


class Receiving:
    """What a request is given on its way to the pool.

    Signals tell the same, but one signal costs as much as all that is done here.
    """

    def __init__(self, telemetry: QueueTelemetry, covers: Callable[[Any], bool]) -> None:
        self._telemetry = telemetry
        self._covers = covers

    def strategy(self, wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `celery.worker.strategy.default(...)`, whose result is called with messages."""
        handle = wrapped(*args, **kwargs)

        def received(message: Any, *args: Any, **kwargs: Any) -> Any:
            try:  # noqa: SIM105 - a context manager costs more than what is done in it
                message.otel_queue_received_at = time.time()
            except AttributeError:
                pass  # a broker client of its own kind; the time is left out
            return handle(message, *args, **kwargs)

        return received

    @never_raises(do_nothing)
    def accompany(
        self, made: Any, _base: Any, task: Any, pool: Any, *_: object, **__: object
    ) -> None:
        """Give the requests of class `made`, for `task`, their receipts when `pool` gets them."""
        execute, limit = made.execute_using_pool, time_limit(task, pool)

        def execute_using_pool(request: Any, *args: Any, **kwargs: Any) -> Any:
            self.give_receipt(request, limit)
            return execute(request, *args, **kwargs)

        made.execute_using_pool = execute_using_pool

    def give_receipt(self, request: Any, limit: float | None) -> None:
        """Choose the id of the span of `request`, and pass on what is known of it."""
        try:
            if self._covers(request.app) and self._telemetry.connect():
                facts = request.request_dict
                receipt = (received_at(request), random.getrandbits(64) or 1, limit)
                facts["properties"] = {**facts["properties"], RECEIPT_KEY: receipt}
        except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
            log_failure("Receiving.give_receipt")


def received_at(request: Any) -> float | None:
    """When the message of `request` was received, in seconds since the epoch."""
    return getattr(request.message, _RECEIVED_AT, None)


def runs_elsewhere(pool: Any) -> bool:
    """Whether `pool` runs tasks in processes of their own, which may die alone."""
    prefork = getattr(sys.modules.get("celery.concurrency.prefork"), "TaskPool", ())
    return isinstance(pool, prefork)


def time_limit(task: Any, pool: Any) -> float | None:
    """The time limit (seconds) that `pool` ends the process of `task` by, None if it does not."""
    if not runs_elsewhere(pool):
        return None
    limit = task.time_limit or getattr(pool, "options", {}).get("timeout")
    return limit if isinstance(limit, (int, float)) else None
