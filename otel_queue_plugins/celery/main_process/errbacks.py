"""Errbacks that Celery calls without a message, in the process that saw the task fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_queue_plugins.celery import translation
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.celery.workflow import failed_request
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.safety import never_raises
from otel_queue_plugins.core.telemetry import QueueTelemetry


class Errbacks:
    """A process span for each errback that is a function call to Celery.

    Those that take more than one argument are (`Backend._call_task_errbacks`); the others are sent
    as messages.
    """

    def __init__(
        self, telemetry: QueueTelemetry, routes: Routes, covers: Callable[[Any], bool]
    ) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._covers = covers

    def call_all(self, wrapped: Any, backend: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Backend._call_task_errbacks(request, exc, traceback)`."""
        request = args[0] if args else kwargs.get("request")
        if not self._covers(backend.app):
            return wrapped(*args, **kwargs)
        token = failed_request.set(request)
        try:
            if current_delivery.get() is not None:
                return wrapped(*args, **kwargs)
            with self._stand_in(backend.app, request).inside():
                return wrapped(*args, **kwargs)
        finally:
            failed_request.reset(token)

    def call(self, wrapped: Any, signature: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Signature.__call__`: a delivery if Celery calls an errback."""
        request = failed_request.get()
        if request is None:
            return wrapped(*args, **kwargs)
        token = failed_request.set(None)
        operation = self._start(signature, request)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            self._telemetry.end_process(operation, Ending(outcome=Outcome.FAILURE, error=error))
            raise
        else:
            self._telemetry.end_process(operation, SUCCEEDED)
            return result
        finally:
            failed_request.reset(token)

    @never_raises(ProcessOperation)
    def _stand_in(self, app: Any, request: Any) -> ProcessOperation:
        """The delivery of the task that failed, for who calls its errbacks outside of that."""
        facts = vars(request)
        route = self._routes.of_request(app, str(facts.get("task")), facts)
        delivery = translation.delivery(facts, route, None, translation.receipt(facts))
        return self._telemetry.reference_process(delivery, translation.carrier(facts))

    @never_raises(ProcessOperation)
    def _start(self, signature: Any, request: Any) -> ProcessOperation:
        """What is current is the failed task's delivery, or the context that stands for it."""
        facts = vars(request)
        route = self._routes.of_request(signature.app, signature.task, facts)
        delivery = Delivery(
            route=route,
            id=str(facts.get("id")),
            conversation_id=translation.identity(facts.get("root_id")),
            trigger="callback",
            worker_name=translation.text(facts.get("hostname")),
        )
        return self._telemetry.start_process(delivery, None)
