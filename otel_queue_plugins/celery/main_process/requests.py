"""Requests whose task did not run to its end: lost, timed out, cancelled, revoked, rejected."""

from __future__ import annotations

from typing import Any, Final

from billiard.exceptions import TimeLimitExceeded
from celery.exceptions import Reject
from celery.signals import task_received

from otel_queue_plugins.celery import outcomes
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.celery.main_process.decisions import (
    Decisions,
    failure_arguments,
    revocation_arguments,
)
from otel_queue_plugins.celery.main_process.pool_deliveries import (
    IN_POOL_PROCESS,
    PoolDeliveries,
    is_handled,
    is_reported,
)
from otel_queue_plugins.core.messages import Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import do_nothing, never_raises

HAS_CUSTOM_BASE: Final = "otel_queue_has_custom_base"
"""The attribute of a request class: whether a task has its own, whose methods are user code."""


class Requests:
    """Wrappers of the methods of `celery.worker.request.Request` that end a delivery.

    Each delivery has one span. If the pool returns a result, the process that ran the task has
    recorded the delivery, unless the result is marked (`UnrecordedRuntime`). If the pool reports a
    loss, it is recorded here. A cancelled or terminated delivery is recorded when the pool reports
    its end, or when the worker has ended. User code that Celery calls for any of this runs inside
    the delivery.
    """

    def __init__(self, shared: Collaborators) -> None:
        self._telemetry = shared.telemetry
        self._covers = shared.covers
        self.pool_deliveries = PoolDeliveries(shared, self._record_forgotten)
        self.decisions = Decisions()
        self._timed_out: dict[Any, tuple[ProcessOperation, Ending, Any]] = {}

    def on_failure(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Request.on_failure(exc_info, send_failed_event=True, return_ok=False)`.

        With `return_ok` the task failed in its process, and the process has recorded it.
        """
        info, return_ok = failure_arguments(*args, **kwargs)
        is_ignored = return_ok and not _calls_user_code(request, info)
        if is_ignored or is_handled(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        if return_ok or self.pool_deliveries.has_ended(request):
            return self._call_inside_reference(wrapped, request, args, kwargs)
        operation = self.pool_deliveries.take(request)
        try:
            with self.pool_deliveries.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            self._record_failed(request, operation, info)

    def on_timeout(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Request.on_timeout(soft, timeout)`.

        billiard calls it after `on_failure`; gevent calls only this.
        """
        soft = args[0] if args else kwargs.get("soft")
        is_ignored = soft and not getattr(request, HAS_CUSTOM_BASE, False)
        if is_ignored or is_handled(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        failed = None if soft else self._timed_out.pop(request, None)
        if failed is None:
            return self._call_inside_reference(wrapped, request, args, kwargs)
        operation, ending, info = failed
        try:
            with self.pool_deliveries.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            self.pool_deliveries.record(request, operation, ending, info)

    def task_received(self, wrapped: Any, _signal: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `task_received.send(sender, request)`: receivers run in the context of the sender.

        Nothing is recorded: whether the task will run is not known yet.
        """
        request = kwargs.get("request")
        if not task_received.receivers or request is None or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        return self._call_inside_reference(wrapped, request, args, kwargs)

    def announce_cancelled(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `Request._announce_cancelled(...)`: the connection is lost, or the worker ends.

        The process of the task was sent a signal, but may have completed the task.
        """
        if is_handled(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        operation = self.pool_deliveries.hold(request, None)
        try:
            with self.pool_deliveries.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            self.decisions.set_cancelled(request)
            self._drop_reported(request)

    def announce_revoked(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `Request._announce_revoked(reason, terminated, signum, expired)`.

        A task that had started is recorded when the pool reports its end.
        """
        if is_handled(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        reason, terminated, number, expired = revocation_arguments(*args, **kwargs)
        operation = (
            self.pool_deliveries.hold(request, number)
            if terminated
            else self.pool_deliveries.take(request)
        )
        try:
            with self.pool_deliveries.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            if not terminated:
                outcome = Outcome.EXPIRED if expired else Outcome.REVOKED
                self.pool_deliveries.record(
                    request, operation, Ending(outcome=outcome, reason=str(reason))
                )
            else:
                self._drop_reported(request)

    def reject(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Request.reject(requeue=False)`; it ends a task that was not given to the pool.

        Celery calls it if the ETA is invalid.
        """
        has_begun = request.acknowledged or request.time_start or request._apply_result  # noqa: SLF001
        if has_begun or is_handled(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        requeue = args[0] if args else kwargs.get("requeue")
        outcome = Outcome.REQUEUED if requeue else Outcome.REJECTED
        operation = self.pool_deliveries.take(request)
        try:
            with self.pool_deliveries.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            ending = Ending(outcome=outcome, reason="rejected before it could run")
            self.pool_deliveries.record(request, operation, ending)

    @never_raises(do_nothing)
    def record_remaining(self) -> None:
        """Record what the pool has not reported, as the worker has ended."""
        while self._timed_out:
            request, (operation, ending, info) = self._timed_out.popitem()
            self.pool_deliveries.record(request, operation, ending, info)
        for request in list(self.pool_deliveries.held):
            self._record_forgotten(request)

    @never_raises(do_nothing)
    def _record_forgotten(self, request: Any) -> None:
        """Record a held delivery that the pool will not report any more."""
        if request in self.pool_deliveries.held and not self.pool_deliveries.has_ended(request):
            operation = self.pool_deliveries.take(request)
            self.pool_deliveries.record(request, operation, self._ending(request, operation, None))

    @never_raises(do_nothing)
    def record_result(self, request: Any, pool_result: Any, *, unrecorded: bool) -> None:
        """Record the delivery of a result that is marked as `unrecorded`; else drop it."""
        if not unrecorded:
            self.pool_deliveries.drop(request)
        elif self._covers(request.app):
            operation = self.pool_deliveries.take(request)
            ending = outcomes.of_pool_result(pool_result, request.task, operation.delivery)
            self._telemetry.end_process(operation, ending, pool_result[-1].ended_at)

    @never_raises(do_nothing)
    def _record_failed(self, request: Any, operation: ProcessOperation, info: Any) -> None:
        ending = self._ending(request, operation, info)
        timed_out = isinstance(outcomes.exception_of(info), TimeLimitExceeded)
        if timed_out and getattr(request, IN_POOL_PROCESS, False):
            self._timed_out[request] = operation, ending, info
        else:
            self.pool_deliveries.record(request, operation, ending, info)

    def _ending(self, request: Any, operation: ProcessOperation, info: Any) -> Ending:
        signal = self.pool_deliveries.signal_of(request)
        return self.decisions.ending_of(request, operation.delivery, info, signal)

    @never_raises(do_nothing)
    def _drop_reported(self, request: Any) -> None:
        """Drop a held delivery that the thread of the pool has reported meanwhile."""
        if is_reported(request):
            self.pool_deliveries.drop(request)

    def _call_inside_reference(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Call `wrapped` inside a delivery that is recorded by another call or process."""
        with self.pool_deliveries.inside(request, self.pool_deliveries.reference_process(request)):
            return wrapped(*args, **kwargs)


def _calls_user_code(request: Any, info: Any) -> bool:
    """Whether the main process may call user code for a failed task."""
    has_custom_base = getattr(request, HAS_CUSTOM_BASE, False)
    return has_custom_base or isinstance(outcomes.exception_of(info), Reject)
