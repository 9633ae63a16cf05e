"""A task runs: the function that `build_tracer` makes is the one place that sees all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from celery.exceptions import Reject

from otel_queue_plugins.celery import outcomes, reading
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.guard import never_raises
from otel_queue_plugins.core.messages import Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.telemetry import QueueTelemetry

TRACED: Final = "__otel_queue_original__"


class Running:
    """The process side of the plugin, in the process that runs tasks.

    `supervised` tells whether another process reports what ends this one (a prefork child).
    """

    def __init__(
        self,
        telemetry: QueueTelemetry,
        routes: Routes,
        covers: Callable[[Any], bool],
        supervised: Callable[[], bool],
    ) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._covers = covers
        self._supervised = supervised

    def build_tracer(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        """Around `celery.app.trace.build_tracer(name, task, ...)`."""
        tracer = wrapped(*args, **kwargs)
        task = args[1] if len(args) > 1 else kwargs.get("task")
        return self.traced(tracer, task, eager=bool(kwargs.get("eager")))

    def traced(self, tracer: Any, task: Any, *, eager: bool) -> Any:
        """`tracer` with every call of it a delivery of `task`."""
        if task is None or hasattr(tracer, TRACED) or not self._covers(task.app):
            return tracer
        telemetry = self._telemetry

        def trace_task(uuid: Any, args: Any, kwargs: Any, request: Any = None) -> Any:
            operation = self._start(task, uuid, request or {}, eager)
            try:
                result = tracer(uuid, args, kwargs, request)
            except BaseException as error:
                self._escaped(operation, task, error)
                raise
            telemetry.end_process(operation, outcomes.of_result(result, task, operation.delivery))
            return result

        setattr(trace_task, TRACED, tracer)
        return trace_task

    @never_raises(ProcessOperation)
    def _start(
        self, task: Any, uuid: Any, request: reading.Request, eager: bool  # noqa: FBT001
    ) -> ProcessOperation:
        delivery = self._delivery(task, uuid, request)
        carrier = None if eager else reading.carrier(request)
        return self._telemetry.start_process(delivery, carrier)

    def _delivery(self, task: Any, uuid: Any, request: reading.Request) -> Delivery:
        info = request.get("delivery_info") or {}
        route = self._routes.find(
            task.app, task.name, info.get("exchange"), info.get("routing_key"), reading=True
        )
        return reading.delivery(request, route, task.max_retries, reading.receipt(request))

    def _escaped(self, operation: ProcessOperation, task: Any, error: BaseException) -> None:
        """What Celery lets out of a tracer ends the process, unless it is `Reject`."""
        if isinstance(error, Reject):
            self._telemetry.end_process(operation, outcomes.of_reject(error))
        elif isinstance(error, Exception):
            ending = outcomes.of_failure(error, task, operation.delivery)
            self._telemetry.end_process(operation, ending)
        elif self._supervised():
            self._telemetry.abandon_process(operation)
        else:
            self._telemetry.end_process(operation, Ending(outcome=Outcome.LOST, error=error))
