"""Tasks of celery-batches: one call of the task processes several messages.

Each message has a process span, in a trace of its own. The span of the first is current in the
call, because what the call does and sends needs one parent, and the first has waited longest. It
has links to the creation contexts of the others; they have links to it. The result of a message is
stored inside its own span.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from otel_queue_plugins.celery import arguments, outcomes, translation
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.core.messages import SUCCEEDED, Ending
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.spans.batch import DeliveredMessage


class BatchRun:
    """One call of a task.

    `marked` has the endings of messages that the call has marked itself, by their ids.
    """

    def __init__(self, task: Any, operations: list[ProcessOperation]) -> None:
        self.task = task
        self.operations = operations
        self.marked: dict[str, Ending] = {}
        self.error: BaseException | None = None

    def find(self, task_id: object) -> ProcessOperation | None:
        """Return the delivery of the message with that id; None without one."""
        matching = (each for each in self.operations if each.delivery.id == str(task_id))
        return next(matching, None)

    def ending(self, operation: ProcessOperation) -> Ending:
        """Return the ending of one message, once the call has returned."""
        marked = self.marked.get(operation.delivery.id)
        if marked is not None:
            return marked
        return SUCCEEDED if self.error is None else outcomes.of_batch_error(self.error, self.task)


_current_run: Final[ContextVar[BatchRun | None]] = ContextVar(
    "otel_queue_celery_batch", default=None
)


class Batches:
    """Wrappers of the functions that run batches, for the process that runs them."""

    def __init__(self, shared: Collaborators) -> None:
        self._telemetry = shared.telemetry
        self._routes = shared.routes
        self._covers = shared.covers
        self._is_pool_process = shared.is_pool_process
        self._exit_times = shared.exit_times

    def apply(self, wrapped: Any, _module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `celery_batches.trace.apply_batches_task(task, (requests,), ...)`."""
        run = self._start(*args, **kwargs)
        if run is None or not run.operations:
            return wrapped(*args, **kwargs)
        token = _current_run.set(run)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            self._end_escaped(run, error)
            raise
        else:
            self._end(run, run.ending)
            return result
        finally:
            _current_run.reset(token)

    def log_error(self, wrapped: Any, _logger: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `error` of the logger of `celery_batches.trace`, its only handling of an error."""
        run = _current_run.get()
        if run is not None:
            run.error = sys.exc_info()[1]
        # The record must name its caller: not us, nor wrapt where that has a Python frame.
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - no public name
        level = 3 if caller.startswith("wrapt.") else 2
        return wrapped(*args, **{"stacklevel": level, **kwargs})

    def mark_as_done(self, wrapped: Any, _backend: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Backend.mark_as_done(task_id, result, ...)`."""
        return self._mark(wrapped, args, kwargs, lambda _task, _result: SUCCEEDED)

    def mark_as_failure(
        self, wrapped: Any, _backend: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `Backend.mark_as_failure(task_id, exc, ...)`."""
        return self._mark(
            wrapped, args, kwargs, lambda task, exc: outcomes.of_batch_error(exc, task)
        )

    def mark_as_retry(self, wrapped: Any, _backend: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Backend.mark_as_retry(task_id, exc, ...)`."""
        return self._mark(wrapped, args, kwargs, lambda _task, exc: outcomes.of_batch_retry(exc))

    def _mark(
        self,
        wrapped: Any,
        args: Any,
        kwargs: dict[str, Any],
        ending_of: Callable[[Any, object], Ending],
    ) -> Any:
        run = _current_run.get()
        if run is None:
            return wrapped(*args, **kwargs)
        task_id, value = _id_and_value(*args, **kwargs)
        operation = run.find(task_id)
        if operation is None:
            return wrapped(*args, **kwargs)
        with operation.inside():
            result = wrapped(*args, **kwargs)
        run.marked[operation.delivery.id] = ending_of(run.task, value)
        return result

    @never_raises(do_nothing)
    def _start(self, task: Any, args: Any, *_: object, **__: object) -> Any:
        """Start the process spans of a call; None if the app of `task` is not covered."""
        if not self._covers(task.app):
            return None
        requests = [self._delivered_message(task, request) for request in args[0]]
        return BatchRun(task, self._telemetry.start_batch(requests) if requests else [])

    def _delivered_message(self, task: Any, request: Any) -> DeliveredMessage:
        """Translate `request`, a `celery_batches.SimpleRequest`."""
        facts = request.request_dict
        route = self._routes.of_request(task.app, task.name, facts)
        delivery = translation.to_delivery(facts, route, None, translation.receipt(facts))
        if self._telemetry.wants_arguments:
            given = arguments.of_call(None, request.args, request.kwargs)
            delivery = delivery._replace(arguments=given)
        return delivery, translation.carrier(facts)

    def _end_escaped(self, run: BatchRun, error: BaseException) -> None:
        """End the deliveries with an exception that ends this process, or its thread."""
        if self._is_pool_process() and all(each.delivery.span_id for each in run.operations):
            self._exit_times.write(run.operations[0].delivery.span_id)
            for operation in reversed(run.operations):
                self._telemetry.abandon_process(operation)
        else:
            self._end(run, lambda each: outcomes.of_escaped(error, run.task, each.delivery))

    def _end(self, run: BatchRun, ending_of: Callable[[ProcessOperation], Ending]) -> None:
        ended_at = time.time()
        for operation in reversed(run.operations):
            self._telemetry.end_process(operation, ending_of(operation), ended_at)


def _id_and_value(
    task_id: object = None, value: object = None, *_: object, **named: object
) -> tuple[object, object]:
    """Return the first two arguments of a call of `Backend.mark_as_...`."""
    return task_id, named.get("result", named.get("exc", value))
