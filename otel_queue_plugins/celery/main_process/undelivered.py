"""What only the process that receives messages sees: tasks that died, and revoked ones."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, Final

from billiard.exceptions import TimeLimitExceeded
from celery.exceptions import Reject
from celery.signals import task_received

from otel_queue_plugins.celery import outcomes
from otel_queue_plugins.celery.deliveries import Unrecorded
from otel_queue_plugins.celery.main_process.decisions import Decisions, failure, revocation
from otel_queue_plugins.celery.main_process.exits import Exits
from otel_queue_plugins.celery.main_process.pool_deliveries import (
    ELSEWHERE,
    Ends,
    is_reported,
    is_within,
)
from otel_queue_plugins.celery.main_process.receipt import Receiving, runs_elsewhere
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.messages import Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.patching import Call, Wrapper
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.telemetry import QueueTelemetry

_CUSTOM: Final = "otel_queue_custom"


class MainProcess:
    """The process side of the plugin, in the process that receives messages.

    The rule that keeps it to one span a delivery: whatever the pool hands back as the result of a
    tracer was recorded by the process that ran it, unless that says otherwise; whatever the pool
    reports as lost is recorded here. What is cancelled or terminated waits for the pool's word,
    too; the pool has none any more when the worker has ended. The code of users that Celery calls
    on any of these occasions runs inside the delivery.
    """

    def __init__(
        self,
        telemetry: QueueTelemetry,
        routes: Routes,
        covers: Callable[[Any], bool],
        noted: Exits,
    ) -> None:
        self._telemetry = telemetry
        self._covers = covers
        self.receiving = Receiving(telemetry, covers)
        self.strategy = self.receiving.strategy
        self.ends = Ends(telemetry, routes, noted, self._forgotten)
        self.decisions = Decisions()
        self._timed_out: dict[Any, tuple[ProcessOperation, Ending, Any]] = {}

    def create_request_cls(
        self, wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `celery.worker.request.create_request_cls(base, task, pool, ...)`."""
        made = wrapped(*args, **kwargs)
        return self._followed(made, *args, **kwargs) or made

    @never_raises(do_nothing)
    def _followed(
        self, made: Any, base: Any, task: Any, pool: Any, *_: object, **__: object
    ) -> Any:
        """A class of requests under `made` that tells where one runs, and what it hands back."""
        from celery.worker.request import Request  # a megabyte that producers do without

        on_success = made.on_success

        def on_result(request: Any, handed_back: Any, **kwargs: Any) -> Any:
            unrecorded = type(handed_back) is tuple and type(handed_back[-1]) is Unrecorded
            if unrecorded or self.ends.held:
                self._returned(request, handed_back, unrecorded=unrecorded)
            return on_success(request, handed_back, **kwargs)

        parts = {
            "__module__": made.__module__,
            "execute_using_pool": self.receiving.with_receipt(made, task, pool),
            "on_success": on_result,
            # A pool is given them with each task, and to bind a patched one costs much.
            "on_failure": _through(self.on_failure, made.on_failure),
            "on_timeout": _through(self.on_timeout, made.on_timeout),
            ELSEWHERE: runs_elsewhere(pool),
            _CUSTOM: base is not Request,  # what it has in the place of Celery's are hooks
        }
        return type(made.__name__, (made,), parts)

    def on_failure(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Request.on_failure(exc_info, send_failed_event=True, return_ok=False)`.

        With `return_ok` the task failed in its process, which has recorded it.
        """
        info, return_ok = failure(*args, **kwargs)
        passes = return_ok and not _calls_users(request, info)
        if passes or is_within(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        if return_ok or self.ends.has_ended(request):
            return self._beside(wrapped, request, args, kwargs)
        operation = self.ends.take(request)
        try:
            with self.ends.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            self._failed(request, operation, info)

    def on_timeout(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Request.on_timeout(soft, timeout)`.

        billiard says so after it has reported the task as failed; gevent says nothing else.
        """
        soft = args[0] if args else kwargs.get("soft")
        passes = soft and not getattr(request, _CUSTOM, False)
        if passes or is_within(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        held = None if soft else self._timed_out.pop(request, None)
        if held is None:
            return self._beside(wrapped, request, args, kwargs)
        operation, ending, info = held
        try:
            with self.ends.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            self.ends.record(request, operation, ending, info)

    def task_received(self, wrapped: Any, _signal: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `task_received.send(sender, request)`: handlers are in the sender's context.

        Whether there will be a delivery, nobody knows yet.
        """
        request = kwargs.get("request")
        if not task_received.receivers or request is None or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        return self._beside(wrapped, request, args, kwargs)

    def announce_cancelled(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._announce_cancelled(...)`: the connection is lost, or the worker ends.

        The process that runs the task has been sent a signal; it may be done with it by then.
        """
        if is_within(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        operation = self.ends.hold(request, None)
        try:
            with self.ends.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            self.decisions.cancelled(request)
            self._hold_no_longer(request)

    def announce_revoked(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._announce_revoked(reason, terminated, signum, expired)`.

        A task that had started is recorded when the pool reports its end.
        """
        if is_within(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        reason, terminated, number, expired = revocation(*args, **kwargs)
        operation = self.ends.hold(request, number) if terminated else self.ends.take(request)
        try:
            with self.ends.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            if not terminated:
                outcome = Outcome.EXPIRED if expired else Outcome.REVOKED
                self.ends.record(request, operation, Ending(outcome=outcome, reason=str(reason)))
            else:
                self._hold_no_longer(request)

    def reject(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Request.reject(requeue=False)`; a task that no pool has had ends with that.

        Celery does so if it cannot make out an ETA.
        """
        begun = request.acknowledged or request.time_start or request._apply_result  # noqa: SLF001
        if begun or is_within(request) or not self._covers(request.app):
            return wrapped(*args, **kwargs)
        requeue = args[0] if args else kwargs.get("requeue")
        outcome = Outcome.REQUEUED if requeue else Outcome.REJECTED
        operation = self.ends.take(request)
        try:
            with self.ends.inside(request, operation):
                return wrapped(*args, **kwargs)
        finally:
            ending = Ending(outcome=outcome, reason="rejected before it could run")
            self.ends.record(request, operation, ending)

    @never_raises(do_nothing)
    def record_the_rest(self) -> None:
        """The worker has ended: nobody will report what has not been reported yet."""
        while self._timed_out:
            request, (operation, ending, info) = self._timed_out.popitem()
            self.ends.record(request, operation, ending, info)
        for request in list(self.ends.held):
            self._forgotten(request)

    @never_raises(do_nothing)
    def _forgotten(self, request: Any) -> None:
        """The pool will not report a task that was sent a signal."""
        if request in self.ends.held and not self.ends.has_ended(request):
            operation = self.ends.take(request)
            self.ends.record(request, operation, self._ending(request, operation, None))

    @never_raises(do_nothing)
    def _returned(self, request: Any, handed_back: Any, *, unrecorded: bool) -> None:
        if not unrecorded:
            self.ends.drop(request)
        elif self._covers(request.app):
            operation = self.ends.take(request)
            ending = outcomes.of_handed_back(handed_back, request.task, operation.delivery)
            self._telemetry.end_process(operation, ending, handed_back[-1].ended_at)

    @never_raises(do_nothing)
    def _failed(self, request: Any, operation: ProcessOperation, info: Any) -> None:
        ending = self._ending(request, operation, info)
        late = isinstance(outcomes.exception_of(info), TimeLimitExceeded)
        if late and getattr(request, ELSEWHERE, False):
            self._timed_out[request] = operation, ending, info
        else:
            self.ends.record(request, operation, ending, info)

    def _ending(self, request: Any, operation: ProcessOperation, info: Any) -> Ending:
        return self.decisions.of(request, operation.delivery, info, self.ends.signal_of(request))

    @never_raises(do_nothing)
    def _hold_no_longer(self, request: Any) -> None:
        """The thread of a pool may have reported it meanwhile."""
        if is_reported(request):
            self.ends.drop(request)

    def _beside(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call `wrapped` inside a delivery that is recorded elsewhere."""
        with self.ends.inside(request, self.ends.reference_process(request)):
            return wrapped(*args, **kwargs)


def _calls_users(request: Any, info: Any) -> bool:
    """Whether there may be code of users in what the main process does about a failed task."""
    custom = getattr(request, _CUSTOM, False)
    return custom or isinstance(outcomes.exception_of(info), Reject)


def _through(wrapper: Wrapper, method: Call) -> Call:
    """A method that calls another one of its class through `wrapper`."""

    def call(request: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapper(MethodType(method, request), request, args, kwargs)

    return call
