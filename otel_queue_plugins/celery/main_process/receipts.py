"""Receipts: what the main process passes to the code that runs a task.

A receipt has the time at which the message was received, the id for the process span and the time
limit (see `translation.Receipt`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final

from otel_queue_plugins.celery.pools import time_limit
from otel_queue_plugins.celery.translation import RECEIPT_KEY
from otel_queue_plugins.core.safety import log_failure
from otel_queue_plugins.core.telemetry import QueueTelemetry

_RECEIVED_AT: Final = "otel_queue_received_at"


class Receipts:
    """Wrappers that attach a receipt to each request on its way to the pool.

    Celery has signals for these moments, but one signal costs as much as all that is done here.
    """

    def __init__(self, telemetry: QueueTelemetry, covers: Callable[[Any], bool]) -> None:
        self._telemetry = telemetry
        self._covers = covers

    def strategy(self, wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `celery.worker.strategy.default(...)`, which makes the handler of messages."""
        handle = wrapped(*args, **kwargs)

        def handle_received(message: Any, *args: Any, **kwargs: Any) -> Any:
            try:  # noqa: SIM105 - a context manager costs more than what is done in it
                message.otel_queue_received_at = time.time()
            except AttributeError:
                pass  # a message class without it; the time is left out
            return handle(message, *args, **kwargs)

        return handle_received

    def with_receipt(self, request_class: Any, task: Any, pool: Any) -> Callable[..., Any]:
        """Return the `execute_using_pool` of `request_class`, attaching a receipt first."""
        execute, limit = request_class.execute_using_pool, time_limit(task, pool)

        def execute_using_pool(request: Any, *args: Any, **kwargs: Any) -> Any:
            self.attach(request, limit)
            return execute(request, *args, **kwargs)

        return execute_using_pool

    def attach(self, request: Any, limit: float | None) -> None:
        """Attach a receipt to `request`; `limit` is the time limit in seconds, None without one."""
        try:
            if self._covers(request.app) and self._telemetry.connect():
                facts = request.request_dict
                receipt = (received_at(request), random.getrandbits(64) or 1, limit)
                facts["properties"] = {**facts["properties"], RECEIPT_KEY: receipt}
        except Exception:  # noqa: BLE001 - as `never_raises`, for a third of the cost
            log_failure("Receipts.attach")


def received_at(request: Any) -> float | None:
    """Return when the message was received, in seconds since the epoch; None if unknown."""
    return getattr(request.message, _RECEIVED_AT, None)
