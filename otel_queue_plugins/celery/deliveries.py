"""The worker's side: each call of a task's tracer is a delivery.

A tracer is the function that `celery.app.trace.build_tracer` makes for a task. It is the only one
that lasts from before the task runs until after its result is stored.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from billiard import common

from otel_queue_plugins.celery import arguments, outcomes, translation
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.core.messages import SUCCEEDED, Outcome
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.patching import Observed, Switch, unwrap
from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises

MARGIN_S: Final = 0.5


class UnrecordedRuntime(float):
    """The runtime of a task (seconds, 0 if Celery has none) whose delivery is not recorded yet.

    A pool process returns it with the result of a task that the main process may have given up
    already, because of a time limit or a signal. The main process records the delivery, by what it
    does with the result. `ended_at` is when the task ended (seconds since the epoch).
    """

    ended_at: float | None = None


class Deliveries:
    """Wrappers of the functions that run tasks, for the process that runs them."""

    def __init__(self, shared: Collaborators) -> None:
        self._telemetry = shared.telemetry
        self._routes = shared.routes
        self._covers = shared.covers
        self._is_pool_process = shared.is_pool_process
        self._exit_times = shared.exit_times
        self._switch: Switch = [True]

    def build_tracer(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        """Wrap `celery.app.trace.build_tracer(name, task, ...)`."""
        tracer = wrapped(*args, **kwargs)
        task = args[1] if len(args) > 1 else kwargs.get("task")
        return self.observed(tracer, task, eager=bool(kwargs.get("eager")))

    def observed(self, tracer: Any, task: Any, *, eager: bool) -> Any:
        """Return `tracer` in a wrapper that makes a process span for each call."""
        if task is None or type(tracer) is Observed or not self._covers(task.app):
            return tracer

        switch = self._switch

        def trace_task(uuid: Any, args: Any, kwargs: Any, request: Any = None) -> Any:
            operation = None
            if switch:
                operation = self._start(task, args, kwargs, request or {}, eager=eager)
            if operation is None:
                return tracer(uuid, args, kwargs, request)
            try:
                result = tracer(uuid, args, kwargs, request)
            except BaseException as error:
                self._end_escaped(operation, task, error)
                raise
            return self._end_returned(operation, task, request or {}, result)

        return Observed(tracer, trace_task)

    def uninstall(self, tasks: Iterable[Any]) -> None:
        """Turn off all wrapped tracers, and give `tasks` their own back."""
        self._switch.clear()
        for task in tasks:
            unwrap(task, "__trace__")

    def retry(self, wrapped: Any, task: Any, args: Any, kwargs: Any) -> Any:
        """Wrap `Task.retry(...)`, which may set the maximum number of retries of an attempt."""
        _set_max_attempts(task, *args, **kwargs)
        return wrapped(*args, **kwargs)

    def _start(
        self, task: Any, args: Any, kwargs: Any, request: translation.Request, *, eager: bool
    ) -> ProcessOperation | None:
        """Start the process span; None if nothing is recorded and there is no context."""
        try:
            carrier = None if eager else translation.carrier(request)
            if self._telemetry.can_skip(carrier):
                return None
            route = self._routes.of_request(task.app, task.name, request)
            limit, receipt = translation.max_retries(task), translation.receipt(request)
            delivery = translation.to_delivery(request, route, limit, receipt)
            if self._telemetry.wants_arguments:
                delivery = delivery._replace(arguments=arguments.of_call(task, args, kwargs))
            return self._telemetry.start_process(delivery, carrier)
        except Exception:  # noqa: BLE001 - as `never_raises`, for a third of the cost
            log_failure("Deliveries._start")
            return None

    def _end_returned(
        self, operation: ProcessOperation, task: Any, request: translation.Request, result: Any
    ) -> Any:
        """End the delivery with `result`, a `celery.app.trace.trace_ok_t`; return what to return.

        That is another result if the main process has to record the delivery.
        """
        if self._can_be_left_to_parent(operation):
            unrecorded = _as_unrecorded(operation, request, result)
            if unrecorded is not None:
                self._telemetry.abandon_process(operation)
                return unrecorded
        ending = outcomes.of_result(result, task, operation.delivery)
        if ending is not SUCCEEDED and ending.outcome is Outcome.SKIPPED:
            operation.was_replaced = True  # the delivery that has succeeded went on with it
        self._telemetry.end_process(operation, ending)
        return result

    def _end_escaped(self, operation: ProcessOperation, task: Any, error: BaseException) -> None:
        """End the delivery with an exception that ends this process, or its thread."""
        if self._can_be_left_to_parent(operation):
            self._exit_times.write(operation.delivery.span_id)
            self._telemetry.abandon_process(operation)
        else:
            ending = outcomes.of_escaped(error, task, operation.delivery)
            self._telemetry.end_process(operation, ending)

    def _can_be_left_to_parent(self, operation: ProcessOperation) -> bool:
        """Whether the main process has chosen the span id, so that it can record the delivery."""
        return operation.delivery.span_id is not None and self._is_pool_process()


@never_raises(do_nothing)
def _set_max_attempts(
    task: Any,
    _args: object = None,
    _kwargs: object = None,
    _exc: object = None,
    _throw: object = None,
    _eta: object = None,
    _countdown: object = None,
    max_retries: object = None,
    **_: object,
) -> None:
    operation = current_delivery.get()
    if operation is None or not isinstance(max_retries, int):
        return
    if operation.delivery.id == str(task.request.id):
        operation.delivery = operation.delivery._replace(max_attempts=max_retries + 1)


@never_raises(do_nothing)
def _as_unrecorded(operation: ProcessOperation, request: translation.Request, result: Any) -> Any:
    """Return `result` marked for the main process to record; None if this process records it."""
    if not _may_be_given_up(operation, request):
        return None
    runtime = UnrecordedRuntime(result.runtime or 0.0)
    runtime.ended_at = time.time()
    return result._replace(runtime=runtime)


def _may_be_given_up(operation: ProcessOperation, request: translation.Request) -> bool:
    """Whether the main process may have given the task up by now."""
    if getattr(common, "terminate_handler_fired", _no)():
        return True
    limit = (request.get("timelimit") or (None,))[0] or translation.receipt(request)[2]
    if limit is None:
        return False
    return time.time() - operation.started_ns / 1e9 > limit - min(MARGIN_S, limit / 10)


def _no() -> bool:
    """Stand in for `terminate_handler_fired`, which billiard has since 4.3."""
    return False
