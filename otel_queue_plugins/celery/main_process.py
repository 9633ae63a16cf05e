"""What only the process that receives messages sees: tasks that died, and revoked ones."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from otel_queue_plugins.celery import outcomes, reading
from otel_queue_plugins.celery.receiving import Receiving, received_at
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.celery.running import Unrecorded
from otel_queue_plugins.core.guard import never_raises, nothing
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk import relay


def _lost() -> Ending:
    return Ending(outcome=Outcome.LOST)


class MainProcess:
    """The process side of the plugin, in the process that receives messages.

    The rule that keeps it to one span a delivery: whatever the pool hands back as the result of a
    tracer was recorded by the process that ran it, unless that says otherwise; whatever the pool
    reports as lost is recorded here. What is cancelled waits for the pool's word, too; the pool has
    none any more when the worker has ended.
    """

    def __init__(
        self, telemetry: QueueTelemetry, routes: Routes, covers: Callable[[Any], bool]
    ) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._covers = covers
        self._receiving = Receiving(telemetry, covers)
        self.strategy = self._receiving.strategy
        self._decided: weakref.WeakKeyDictionary[Any, Ending] = weakref.WeakKeyDictionary()
        self._cancelled: dict[Any, Ending] = {}
        self._terminated_by: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()

    def create_request_cls(
        self, wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `celery.worker.request.create_request_cls(base, task, pool, ...)`."""
        made = wrapped(*args, **kwargs)
        self._receiving.accompany(made, *args, **kwargs)
        on_success = made.on_success

        def on_result(request: Any, handed_back: Any, **kwargs: Any) -> Any:
            if self._cancelled:
                self._cancelled.pop(request, None)
            if type(handed_back) is tuple and type(handed_back[-1]) is Unrecorded:
                self._record_handed_back(request, handed_back)
            return on_success(request, handed_back, **kwargs)

        made.on_success = on_result
        return made

    def on_failure(self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Request.on_failure(exc_info, send_failed_event=True, return_ok=False)`.

        What Celery does about the loss (a retry, errbacks) is done inside the delivery's span.
        """
        info, return_ok = _arguments(*args, **kwargs)
        if return_ok or not self._covers(request.app) or self._has_ended(request):
            return wrapped(*args, **kwargs)
        operation = self._start(request)
        try:
            return wrapped(*args, **kwargs)
        finally:
            self._telemetry.end_process(operation, self._ending(info, request, operation.delivery))

    def success_was_stored(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._success_was_stored()`: a task may be done before its process is lost."""
        stored = wrapped(*args, **kwargs)
        if stored:
            self._decided[request] = SUCCEEDED
        return stored

    def retry_worker_lost(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._retry_worker_lost(exc, exc_info)`, which says whether it did."""
        retried = wrapped(*args, **kwargs)
        if retried:
            info = args[1] if len(args) > 1 else kwargs.get("exc_info")
            self._decided[request] = outcomes.of_lost_and_retried(info, request.task)
        return retried

    def announce_cancelled(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._announce_cancelled(...)`: the connection is lost, or the worker ends.

        The process that runs the task has been sent a signal; it may be done with it by then.
        """
        result = wrapped(*args, **kwargs)
        if self._covers(request.app):
            self._note_cancelled(request)
        return result

    @never_raises(nothing)
    def record_cancelled(self) -> None:
        """The worker has ended: nobody will report what was cancelled and not reported yet."""
        while self._cancelled:
            request, ending = self._cancelled.popitem()
            if self._has_ended(request):
                continue
            delivery, carrier = self._facts(request)
            self._telemetry.record_undelivered(delivery, carrier, ending, request.time_start)

    def announce_revoked(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._announce_revoked(reason, terminated, signum, expired)`.

        A task that had started is recorded when the pool reports its end.
        """
        if self._covers(request.app):
            self._note_revoked(request, *args, **kwargs)
        return wrapped(*args, **kwargs)

    @never_raises(bool)
    def _has_ended(self, request: Any) -> bool:
        """Whether the process that was lost had done the task, and had said so.

        Only its result was not on its way yet. What it said counts.
        """
        ended = relay.has_ended(reading.receipt(request.request_dict)[1])
        if ended:
            self._cancelled.pop(request, None)
        return ended

    @never_raises(nothing)
    def _note_cancelled(self, request: Any) -> None:
        """Whether Celery has let the message go counts now: soon it may try in vain."""
        delivery, _ = self._facts(request)
        if delivery.span_id is None:
            return  # it runs in this process
        self._cancelled[request] = outcomes.of_lost(None, request, delivery, None)
        if _is_reported(request):
            self._cancelled.pop(request, None)

    @never_raises(nothing)
    def _record_handed_back(self, request: Any, handed_back: Any) -> None:
        if not self._covers(request.app):
            return
        delivery, carrier = self._facts(request)
        ending = outcomes.of_handed_back(handed_back, request.task, delivery)
        self._telemetry.record_undelivered(delivery, carrier, ending, request.time_start)

    @never_raises(nothing)
    def _note_revoked(
        self, request: Any, reason: object, terminated: object, signum: Any, expired: object
    ) -> None:
        if terminated:
            self._terminated_by[request] = f"terminated by {_signal_name(signum)}"
            return
        outcome = Outcome.EXPIRED if expired else Outcome.REVOKED
        delivery, carrier = self._facts(request)
        ending = Ending(outcome=outcome, reason=str(reason))
        self._telemetry.record_undelivered(delivery, carrier, ending)

    @never_raises(ProcessOperation)
    def _start(self, request: Any) -> ProcessOperation:
        delivery, carrier = self._facts(request)
        return self._telemetry.start_process(delivery, carrier, request.time_start)

    def _facts(self, request: Any) -> tuple[Delivery, Mapping[str, object]]:
        headers = request.request_dict
        route = self._routes.of_request(request.app, request.type, headers)
        receipt = reading.receipt(headers)
        if receipt is reading.NO_RECEIPT:
            receipt = (received_at(request), None, None)
        delivery = reading.delivery(
            headers, route, reading.max_retries(request.task), receipt, request.worker_pid
        )
        return delivery, reading.carrier(headers)

    @never_raises(_lost)
    def _ending(self, info: Any, request: Any, delivery: Delivery) -> Ending:
        """The ending of a task that the pool lost, once Celery has decided what becomes of it."""
        cancelled = self._cancelled.pop(request, None)
        decided = self._decided.pop(request, cancelled)
        terminated_by = self._terminated_by.get(request)
        return decided or outcomes.of_lost(info, request, delivery, terminated_by)


def _arguments(
    exc_info: Any = None,
    _send_failed_event: object = True,  # noqa: FBT002 - as Celery has it
    return_ok: object = False,  # noqa: FBT002 - likewise
    *_: object,
    **__: object,
) -> tuple[Any, bool]:
    """`exc_info` and `return_ok` of a call of `Request.on_failure`."""
    return exc_info, bool(return_ok)


def _is_reported(request: Any) -> bool:
    """Whether the pool has said how `request` ended. It does so in another thread, maybe."""
    reference = request._apply_result  # noqa: SLF001 - Celery has no public name for it
    job = reference() if reference else None
    return reference is not None and (job is None or job.ready())


def _signal_name(signum: Any) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return "a signal"
