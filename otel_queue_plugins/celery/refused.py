"""Messages that a worker refuses: no task of its own, or nothing that it can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from otel_queue_plugins.celery import reading
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.guard import never_raises, nothing
from otel_queue_plugins.core.messages import Ending, Outcome
from otel_queue_plugins.core.telemetry import QueueTelemetry


class Refused:
    """Deliveries that end with their receipt."""

    def __init__(
        self, telemetry: QueueTelemetry, routes: Routes, covers: Callable[[Any], bool]
    ) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._covers = covers

    @never_raises(nothing)
    def task_unknown(self, sender: Any, message: Any, exc: Any, name: str, **kwargs: Any) -> None:
        """A message for a task that this worker does not have; Celery rejects it."""
        ending = Ending(outcome=Outcome.UNKNOWN_TASK, error=exc, reason="task is not registered")
        self._record(sender.app, message, name, ending, kwargs.get("id"))

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
        self._record(app, message, str(name or "unknown"), ending)

    def _record(
        self, app: Any, message: Any, name: str, ending: Ending, task_id: object = None
    ) -> None:
        if not self._covers(app):
            return
        headers = message.headers if isinstance(message.headers, dict) else {}
        request = {**headers, "delivery_info": message.delivery_info or {}}
        request.setdefault("id", task_id or (message.properties or {}).get("correlation_id") or "")
        route = self._routes.of_request(app, name, request)
        delivery = reading.delivery(request, route, None)
        self._telemetry.record_undelivered(delivery, reading.carrier(request), ending)
