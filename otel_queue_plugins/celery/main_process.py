"""What only the process that receives messages sees: tasks that died, and those that never ran."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from billiard.exceptions import TimeLimitExceeded

from otel_queue_plugins.celery import reading
from otel_queue_plugins.celery.reading import RECEIPT_KEY, Receipt
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core import errors
from otel_queue_plugins.core.guard import never_raises, nothing
from otel_queue_plugins.core.messages import Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.telemetry import QueueTelemetry


class MainProcess:
    """The process side of the plugin, in the process that receives messages.

    The rule that keeps it to one span a delivery: whatever the pool hands back as the result of a
    tracer was recorded by the process that ran it; whatever the pool reports as lost is recorded
    here.
    """

    def __init__(
        self, telemetry: QueueTelemetry, routes: Routes, covers: Callable[[Any], bool]
    ) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._covers = covers

    @never_raises(nothing)
    def task_received(self, request: Any, **_: Any) -> None:
        """Tell the process that will run the task when the message came, and its span's id."""
        properties = request.request_dict.get("properties")
        if isinstance(properties, dict):
            properties[RECEIPT_KEY] = Receipt(time.time(), random.getrandbits(64) or 1)

    def on_failure(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Request.on_failure(exc_info, send_failed_event=True, return_ok=False)`.

        What Celery does about the loss (a retry, errbacks) is done inside the delivery's span.
        """
        if kwargs.get("return_ok") or len(args) > 2 or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        operation = self._start(request)
        try:
            return wrapped(*args, **kwargs)
        finally:
            info = args[0] if args else kwargs.get("exc_info")
            self._telemetry.end_process(operation, _ending_of_lost(info, request))

    def announce_revoked(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._announce_revoked(reason, terminated, signum, expired)`.

        A task that had started is recorded when the pool reports its end.
        """
        if not request.time_start and self._covers(request.app):
            self._record_revoked(request, str(args[0] if args else kwargs.get("reason")))
        return wrapped(*args, **kwargs)

    @never_raises(nothing)
    def task_unknown(self, sender: Any, message: Any, exc: Any, name: str, **_: Any) -> None:
        """A message for a task that this worker does not have; Celery rejects it."""
        ending = Ending(outcome=Outcome.UNKNOWN_TASK, error=exc, reason="task is not registered")
        self._record_message(sender.app, message, name, ending)

    @never_raises(nothing)
    def task_rejected(self, sender: Any, message: Any, exc: Any = None, **_: Any) -> None:
        """A message that is no task, or a task whose arguments nobody can read."""
        self._record_undecodable(sender.app, message, exc)

    def on_decode_error(
        self, wrapped: Any, consumer: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Consumer.on_decode_error(message, exc)`, which says it with no signal."""
        self._record_undecodable(consumer.app, *args, **kwargs)
        return wrapped(*args, **kwargs)

    @never_raises(nothing)
    def _record_undecodable(self, app: Any, message: Any, exc: Any = None) -> None:
        headers = message.headers
        name = headers.get("task") if isinstance(headers, Mapping) else None
        error = exc if isinstance(exc, BaseException) else None
        ending = Ending(outcome=Outcome.UNDECODABLE, error=error, reason="message is no task")
        self._record_message(app, message, str(name or "unknown"), ending)

    def _record_message(self, app: Any, message: Any, name: str, ending: Ending) -> None:
        if not self._covers(app):
            return
        headers = message.headers if isinstance(message.headers, dict) else {}
        info = message.delivery_info or {}
        request = {**headers, "delivery_info": info}
        request.setdefault("id", (message.properties or {}).get("correlation_id") or "")
        route = self._routes.find(
            app, name, info.get("exchange"), info.get("routing_key"), reading=True
        )
        delivery = reading.delivery(request, route, None, None)
        self._telemetry.record_undelivered(delivery, reading.carrier(request), ending)

    @never_raises(nothing)
    def _record_revoked(self, request: Any, reason: str) -> None:
        outcome = Outcome.EXPIRED if reason == "expired" else Outcome.REVOKED
        delivery, carrier = self._facts(request)
        self._telemetry.record_undelivered(
            delivery, carrier, Ending(outcome=outcome, reason=reason)
        )

    @never_raises(ProcessOperation)
    def _start(self, request: Any) -> ProcessOperation:
        delivery, carrier = self._facts(request)
        return self._telemetry.start_process(delivery, carrier, request.time_start)

    def _facts(self, request: Any) -> tuple[Delivery, Mapping[str, object]]:
        headers = request.request_dict
        info = headers.get("delivery_info") or {}
        route = self._routes.find(
            request.app, request.type, info.get("exchange"), info.get("routing_key"), reading=True
        )
        receipt = reading.receipt(headers)
        delivery = reading.delivery(
            headers, route, request.task.max_retries, receipt, request.worker_pid
        )
        return delivery, reading.carrier(headers)


def _ending_of_lost(info: Any, request: Any) -> Ending:
    """The ending of a task that the pool lost, once Celery has decided what becomes of it."""
    error = getattr(info, "exception", None)
    error = error if isinstance(error, BaseException) else None
    if request._already_revoked:  # noqa: SLF001 - Celery has no public name for it
        reason = errors.message(error) if error else "terminated"
        return Ending(outcome=Outcome.REVOKED, reason=reason, cancellation="terminated")
    if request._already_cancelled:  # noqa: SLF001 - likewise
        return Ending(outcome=Outcome.RETRY, reason="cancelled by Celery")
    outcome = Outcome.TIMEOUT if isinstance(error, TimeLimitExceeded) else Outcome.LOST
    return Ending(outcome=outcome, error=error, stacktrace=getattr(info, "traceback", None))
