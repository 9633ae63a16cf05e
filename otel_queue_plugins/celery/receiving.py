"""A worker receives a message: when that was, and what the process that runs the task must know."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from otel_queue_plugins.celery.reading import RECEIPT_KEY
from otel_queue_plugins.core.guard import complain, never_raises, nothing
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

    @never_raises(nothing)
    def accompany(
        self, made: Any, _base: Any, task: Any, pool: Any, *_: object, **__: object
    ) -> None:
        """Give the requests of class `made`, for `task`, their receipts when `pool` gets them."""
        execute, chosen = made.execute_using_pool, _chosen(task, pool)

        def execute_using_pool(request: Any, *args: Any, **kwargs: Any) -> Any:
            self._give_receipt(request, chosen)
            return execute(request, *args, **kwargs)

        made.execute_using_pool = execute_using_pool

    def _give_receipt(self, request: Any, chosen: Callable[[], tuple[Any, Any]]) -> None:
        try:
            if self._covers(request.app) and self._telemetry.connect():
                facts, (span_id, limit) = request.request_dict, chosen()
                receipt = (received_at(request), span_id, limit)
                facts["properties"] = {**facts["properties"], RECEIPT_KEY: receipt}
        except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
            complain("Receiving._give_receipt")


def received_at(request: Any) -> float | None:
    """When the message of `request` was received, in seconds since the epoch."""
    return getattr(request.message, _RECEIVED_AT, None)


def _nothing_chosen() -> tuple[int | None, float | None]:
    return None, None


@never_raises(lambda: _nothing_chosen)
def _chosen(task: Any, pool: Any) -> Callable[[], tuple[int | None, float | None]]:
    """What is agreed with a process that may be killed: the id of the span, and the time limit."""
    prefork = getattr(sys.modules.get("celery.concurrency.prefork"), "TaskPool", ())
    if not isinstance(pool, prefork):
        return _nothing_chosen
    limit = task.time_limit or getattr(pool, "options", {}).get("timeout")
    return lambda: (random.getrandbits(64) or 1, limit)
