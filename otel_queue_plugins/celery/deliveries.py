"""A task runs: the function that `build_tracer` makes is the one place that sees all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from billiard import common

from otel_queue_plugins.celery import outcomes, translation
from otel_queue_plugins.celery.main_process.exits import Exits
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.patching import Observed, Switch, unwrap
from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises
from otel_queue_plugins.core.telemetry import QueueTelemetry

MARGIN_S: Final = 0.5


class Unrecorded(float):
    """The runtime of a task (seconds, 0 where Celery has none) whose delivery is not recorded yet.

    A child process hands it back to the main one with the result of a task whose end the main
    process may have decided already, because of a time limit or a signal. What counts is whether
    the main process takes the result or not. `ended_at` is when the task ended (seconds since the
    epoch).
    """

    ended_at: float | None = None


class Running:
    """The process side of the plugin, in the process that runs tasks.

    `supervised` tells whether another process reports what ends this one (a prefork child), which
    is told in `noted` when it did.
    """

    def __init__(
        self,
        telemetry: QueueTelemetry,
        routes: Routes,
        covers: Callable[[Any], bool],
        supervised: Callable[[], bool],
        noted: Exits,
    ) -> None:
        self._telemetry = telemetry
        self._exits = noted
        self._routes = routes
        self._covers = covers
        self._supervised = supervised
        self._switch: Switch = [True]

    def build_tracer(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        """Around `celery.app.trace.build_tracer(name, task, ...)`."""
        tracer = wrapped(*args, **kwargs)
        task = args[1] if len(args) > 1 else kwargs.get("task")
        return self.traced(tracer, task, eager=bool(kwargs.get("eager")))

    def traced(self, tracer: Any, task: Any, *, eager: bool) -> Any:
        """`tracer` with every call of it a delivery of `task`."""
        if task is None or type(tracer) is Observed or not self._covers(task.app):
            return tracer

        switch = self._switch

        def trace_task(uuid: Any, args: Any, kwargs: Any, request: Any = None) -> Any:
            operation = self._start(task, request or {}, eager=eager) if switch else None
            if operation is None:
                return tracer(uuid, args, kwargs, request)
            try:
                result = tracer(uuid, args, kwargs, request)
            except BaseException as error:
                self._escaped(operation, task, error)
                raise
            return self._returned(operation, task, request or {}, result)

        return Observed(tracer, trace_task)

    def leave(self, tasks: Iterable[Any]) -> None:
        """Do nothing any more in the tracers of `tasks`, and give those back that are ours."""
        self._switch.clear()
        for task in tasks:
            unwrap(task, "__trace__")

    def retry(self, wrapped: Any, task: Any, args: Any, kwargs: Any) -> Any:
        """Around `Task.retry(...)`, where an attempt may be given a maximum of its own."""
        _note_maximum(task, *args, **kwargs)
        return wrapped(*args, **kwargs)

    def _start(
        self, task: Any, request: translation.Request, *, eager: bool
    ) -> ProcessOperation | None:
        """The delivery that begins, None where there is nothing to tell and to hand on."""
        try:
            carrier = None if eager else translation.carrier(request)
            if self._telemetry.can_skip(carrier):
                return None
            route = self._routes.of_request(task.app, task.name, request)
            limit, receipt = translation.max_retries(task), translation.receipt(request)
            delivery = translation.delivery(request, route, limit, receipt)
            return self._telemetry.start_process(delivery, carrier)
        except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
            log_failure("Running._start")
            return None

    def _returned(
        self, operation: ProcessOperation, task: Any, request: translation.Request, result: Any
    ) -> Any:
        """What to hand back for `result`, a `celery.app.trace.trace_ok_t`."""
        if self._is_reported(operation):
            unrecorded = _unrecorded(operation, request, result)
            if unrecorded is not None:
                self._telemetry.abandon_process(operation)
                return unrecorded
        ending = outcomes.of_result(result, task, operation.delivery)
        self._telemetry.end_process(operation, ending)
        return result

    def _escaped(self, operation: ProcessOperation, task: Any, error: BaseException) -> None:
        """What gets out of a tracer is for the pool: where that is another process, it tells."""
        if self._is_reported(operation):
            self._exits.note(operation.delivery.span_id)
            self._telemetry.abandon_process(operation)
        else:
            ending = outcomes.of_escaped(error, task, operation.delivery)
            self._telemetry.end_process(operation, ending)

    def _is_reported(self, operation: ProcessOperation) -> bool:
        """Whether the main process records this delivery if this process does not."""
        return operation.delivery.span_id is not None and self._supervised()


@never_raises(do_nothing)
def _note_maximum(
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
def _unrecorded(operation: ProcessOperation, request: translation.Request, result: Any) -> Any:
    """`result` for the main process to record, None where that is for this process."""
    if not _contested(operation, request):
        return None
    unrecorded = Unrecorded(result.runtime or 0.0)
    unrecorded.ended_at = time.time()
    return result._replace(runtime=unrecorded)


def _contested(operation: ProcessOperation, request: translation.Request) -> bool:
    """Whether the main process may have given the task up by now."""
    if getattr(common, "terminate_handler_fired", _no)():
        return True
    limit = (request.get("timelimit") or (None,))[0] or translation.receipt(request)[2]
    if limit is None:
        return False
    return time.time() - operation.started_ns / 1e9 > limit - min(MARGIN_S, limit / 10)


def _no() -> bool:
    """What billiard before 4.3 would tell."""
    return False
