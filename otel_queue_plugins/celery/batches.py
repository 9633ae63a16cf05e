"""Tasks of celery-batches: one call of the task processes several messages.

Each has its process span, in a trace of its own. That of the first is current in the call:
somebody's must be, so that what the call does and sends has a parent, and the first has waited
longest. The others link to it, and it links to what they were sent with. The result of a message is
stored inside its own span.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from otel_queue_plugins.celery import outcomes, translation
from otel_queue_plugins.celery.main_process.exits import Exits
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.messages import SUCCEEDED, Ending
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.spans.batch import DeliveredMessage
from otel_queue_plugins.core.telemetry import QueueTelemetry


class Run:
    """A call of a task; `marked` are the endings of single messages, by their id."""

    def __init__(self, task: Any, operations: list[ProcessOperation]) -> None:
        self.task = task
        self.operations = operations
        self.marked: dict[str, Ending] = {}
        self.error: BaseException | None = None

    def find(self, task_id: object) -> ProcessOperation | None:
        """The delivery of the message with that id."""
        found = (one for one in self.operations if one.delivery.id == str(task_id))
        return next(found, None)

    def ending(self, operation: ProcessOperation) -> Ending:
        """How a message fared, once the call has returned."""
        marked = self.marked.get(operation.delivery.id)
        if marked is not None:
            return marked
        return SUCCEEDED if self.error is None else outcomes.of_batch(self.error, self.task)


_running: Final[ContextVar[Run | None]] = ContextVar("otel_queue_celery_batch", default=None)


class Batches:
    """The process side of the plugin where calls process several messages.

    `supervised` and `noted` are as for `Running`.
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
        self._routes = routes
        self._covers = covers
        self._supervised = supervised
        self._exits = noted

    def apply(self, wrapped: Any, _module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `celery_batches.trace.apply_batches_task(task, (requests,), ...)`."""
        run = self._start(*args, **kwargs)
        if run is None or not run.operations:
            return wrapped(*args, **kwargs)
        token = _running.set(run)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            self._escaped(run, error)
            raise
        else:
            self._end(run, run.ending)
            return result
        finally:
            _running.reset(token)

    def error(self, wrapped: Any, _logger: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `error` of the logger of `celery_batches.trace`: no more is done about one."""
        run = _running.get()
        if run is not None:
            run.error = sys.exc_info()[1]
        # It is neither us who log nor wrapt, which has a frame where it is not compiled.
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - no public name
        level = 3 if caller.startswith("wrapt.") else 2
        return wrapped(*args, **{"stacklevel": level, **kwargs})

    def mark_as_done(self, wrapped: Any, _backend: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Backend.mark_as_done(task_id, result, ...)`."""
        return self._mark(wrapped, args, kwargs, lambda _task, _result: SUCCEEDED)

    def mark_as_failure(
        self, wrapped: Any, _backend: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Backend.mark_as_failure(task_id, exc, ...)`."""
        return self._mark(wrapped, args, kwargs, lambda task, exc: outcomes.of_batch(exc, task))

    def mark_as_retry(self, wrapped: Any, _backend: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Backend.mark_as_retry(task_id, exc, ...)`."""
        return self._mark(wrapped, args, kwargs, lambda _task, exc: outcomes.of_batch_retry(exc))

    def _mark(
        self,
        wrapped: Any,
        args: Any,
        kwargs: dict[str, Any],
        ending_of: Callable[[Any, object], Ending],
    ) -> Any:
        run = _running.get()
        if run is None:
            return wrapped(*args, **kwargs)
        task_id, value = _marked(*args, **kwargs)
        operation = run.find(task_id)
        if operation is None:
            return wrapped(*args, **kwargs)
        with operation.inside():
            result = wrapped(*args, **kwargs)
        run.marked[operation.delivery.id] = ending_of(run.task, value)
        return result

    @never_raises(do_nothing)
    def _start(self, task: Any, args: Any, *_: object, **__: object) -> Any:
        """The call that begins, None where there is nothing to tell and to hand on."""
        if not self._covers(task.app):
            return None
        requests = [self._delivered(task, request) for request in args[0]]
        return Run(task, self._telemetry.start_batch(requests) if requests else [])

    def _delivered(self, task: Any, request: Any) -> DeliveredMessage:
        """The delivery that `request`, a `celery_batches.SimpleRequest`, is."""
        facts = request.request_dict
        route = self._routes.of_request(task.app, task.name, facts)
        return translation.delivery(
            facts, route, None, translation.receipt(facts)
        ), translation.carrier(facts)

    def _escaped(self, run: Run, error: BaseException) -> None:
        """The process ends: its parent tells it, if it has one that chose the ids."""
        if self._supervised() and all(one.delivery.span_id for one in run.operations):
            self._exits.note(run.operations[0].delivery.span_id)
            for operation in reversed(run.operations):
                self._telemetry.abandon_process(operation)
        else:
            self._end(run, lambda one: outcomes.of_escaped(error, run.task, one.delivery))

    def _end(self, run: Run, ending_of: Callable[[ProcessOperation], Ending]) -> None:
        ended_at = time.time()
        for operation in reversed(run.operations):
            self._telemetry.end_process(operation, ending_of(operation), ended_at)


def _marked(
    task_id: object = None, value: object = None, *_: object, **named: object
) -> tuple[object, object]:
    """The first two arguments of a call of `Backend.mark_as_...`."""
    return task_id, named.get("result", named.get("exc", value))
