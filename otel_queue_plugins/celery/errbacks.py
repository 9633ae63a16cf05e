"""Errbacks that Celery calls without a message, in the process that saw the task fail."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from typing import Any

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_queue_plugins.celery import reading
from otel_queue_plugins.celery.canvas import failed_request
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core import propagation
from otel_queue_plugins.core.current import with_span
from otel_queue_plugins.core.guard import never_raises
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
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
        beside = None if current_delivery.get() else _enter(request)
        try:
            return wrapped(*args, **kwargs)
        finally:
            if beside is not None:
                context.detach(beside)
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
    def _start(self, signature: Any, request: Any) -> ProcessOperation:
        """What is current is the failed task's delivery, or the context that stands for it."""
        facts = vars(request)
        route = self._routes.of_request(signature.app, signature.task, facts)
        delivery = Delivery(
            route=route,
            id=str(facts.get("id")),
            conversation_id=reading.identity(facts.get("root_id")),
            trigger="callback",
            worker_name=reading.text(facts.get("hostname")),
        )
        return self._telemetry.start_process(delivery, None)


def _no_token() -> Token[Context] | None:
    return None


@never_raises(_no_token)
def _enter(request: Any) -> Token[Context] | None:
    """Make the delivery current that is over for Celery, but not yet recorded.

    At a hard time limit the main process calls errbacks first and hears of the killed process
    later. It knows the id that the delivery's span will have, if that is in the sender's trace.
    """
    facts = vars(request)
    incoming = propagation.read(reading.carrier(facts))
    _, span_id, _ = reading.receipt(facts)
    told = incoming.envelope.relation if incoming.envelope else None
    if incoming.creation is None or span_id is None or told is not None:
        return context.attach(incoming.context)
    creation = incoming.creation
    here = SpanContext(creation.trace_id, span_id, True, creation.trace_flags)  # noqa: FBT003
    return context.attach(with_span(NonRecordingSpan(here), incoming.context))
