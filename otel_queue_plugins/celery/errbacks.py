"""Errbacks that Celery calls without sending a message, in the process that saw the task fail."""

from __future__ import annotations

from typing import Any

from otel_queue_plugins.celery import translation
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.celery.workflow import failed_request
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.safety import never_raises


class Errbacks:
    """Wrappers that make a process span for each errback that is called as a function.

    Celery calls those that take more than one argument (`Backend._call_task_errbacks`); it sends
    the others as messages.
    """

    def __init__(self, shared: Collaborators) -> None:
        self._telemetry = shared.telemetry
        self._routes = shared.routes
        self._covers = shared.covers

    def call_all(self, wrapped: Any, backend: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Backend._call_task_errbacks(request, exc, traceback)`."""
        request = args[0] if args else kwargs.get("request")
        if not self._covers(backend.app):
            return wrapped(*args, **kwargs)
        token = failed_request.set(request)
        try:
            if current_delivery.get() is not None:
                return wrapped(*args, **kwargs)
            with self._reference_failed(backend.app, request).inside():
                return wrapped(*args, **kwargs)
        finally:
            failed_request.reset(token)

    def call(self, wrapped: Any, signature: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Signature.__call__`, which is a delivery if Celery calls an errback."""
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
    def _reference_failed(self, app: Any, request: Any) -> ProcessOperation:
        """Refer to the delivery of the task that failed, if its errbacks are called outside it."""
        facts = vars(request)
        route = self._routes.of_request(app, str(facts.get("task")), facts)
        delivery = translation.to_delivery(facts, route, None, translation.receipt(facts))
        return self._telemetry.reference_process(delivery, translation.carrier(facts))

    @never_raises(ProcessOperation)
    def _start(self, signature: Any, request: Any) -> ProcessOperation:
        # Without a carrier its parent is what is current: the delivery of the task that failed.
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
