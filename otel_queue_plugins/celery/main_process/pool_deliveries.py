"""The deliveries that run in a pool, as the main process knows them."""

from __future__ import annotations

import signal
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from otel_queue_plugins.celery import arguments, outcomes, translation
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.celery.main_process import exit_times
from otel_queue_plugins.celery.main_process.receipts import received_at
from otel_queue_plugins.core.messages import Delivery, Ending
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.sdk import relay

IN_POOL_PROCESS: Final = "otel_queue_in_pool_process"
"""The attribute of a request class: whether its tasks run in pool processes."""

_handled_request: Final[ContextVar[Any]] = ContextVar("otel_queue_celery_request", default=None)
"""The request that this thread handles."""


def _now() -> float | None:
    """Return the fallback for the time of an end: None is now."""
    return None


class SentSignal(NamedTuple):
    """The signal that a pool process was sent, and the time in seconds since the epoch."""

    at: float
    number: int | None


class HeldDelivery(NamedTuple):
    """A delivery whose process was sent a signal, and a reference to the job of the pool."""

    operation: ProcessOperation
    watch: weakref.ref[Any] | None


class PoolDeliveries:
    """Keeps each delivery recorded once: in this process, or in the one that ran the task.

    A delivery whose process was sent a signal is held until the pool reports its end. The caller of
    `take` records the delivery. A delivery that is dropped is recorded by the process that ran it.

    Args:
        shared: What the parts of the plugin use in common.
        on_forgotten: Called with the request of a held delivery when the pool has deleted its job,
            as Celery before 5.5 has it do when the connection is lost.
    """

    def __init__(self, shared: Collaborators, on_forgotten: Callable[[Any], None]) -> None:
        self._telemetry = shared.telemetry
        self._routes = shared.routes
        self._exit_times = shared.exit_times
        self._signals: weakref.WeakKeyDictionary[Any, SentSignal] = weakref.WeakKeyDictionary()
        self._on_forgotten = on_forgotten
        self.held: dict[Any, HeldDelivery] = {}

    @never_raises(ProcessOperation)
    def hold(self, request: Any, number: int | None) -> ProcessOperation:
        """Hold the delivery whose process was sent signal `number`; None if that is unknown.

        Returns a reference to it if the pool has reported it, or has no processes.
        """
        if not getattr(request, IN_POOL_PROCESS, False) or is_reported(request):
            return self.reference_process(request)
        self._signals[request] = SentSignal(time.time(), number)
        job = job_of(request)
        watch = None if job is None else weakref.ref(job, lambda _: self._on_forgotten(request))
        return self.held.setdefault(request, HeldDelivery(self._open(request), watch)).operation

    @never_raises(ProcessOperation)
    def take(self, request: Any) -> ProcessOperation:
        """Return the delivery for the caller to record; it is held no longer."""
        held = self.held.pop(request, None)
        return self._open(request) if held is None else held.operation

    @never_raises(do_nothing)
    def drop(self, request: Any) -> None:
        """Hold the delivery no longer: the process that ran it has recorded it."""
        held = self.held.pop(request, None)
        if held is not None:
            self._telemetry.abandon_process(held.operation)

    @never_raises(bool)
    def has_ended(self, request: Any) -> bool:
        """Whether the lost process had recorded the delivery, and not yet sent its result.

        Then the delivery is dropped.
        """
        ended = relay.has_ended(translation.receipt(request.request_dict)[1])
        if ended:
            self.drop(request)
        return ended

    @never_raises(ProcessOperation)
    def reference_process(self, request: Any) -> ProcessOperation:
        """Refer to a delivery that another process records, to do something inside it."""
        delivery, carrier = self.to_delivery(request)
        return self._telemetry.reference_process(delivery, carrier, request.time_start)

    @contextmanager
    def inside(self, request: Any, operation: ProcessOperation) -> Iterator[None]:
        """Make the delivery current while `request` is handled; `is_handled` is true meanwhile."""
        token = _handled_request.set(request)
        try:
            with operation.inside():
                yield
        finally:
            _handled_request.reset(token)

    def record(
        self, request: Any, operation: ProcessOperation, ending: Ending, info: Any = None
    ) -> None:
        """Record a delivery that was taken, with the best known time of its end.

        `info` is the ExceptionInfo that the pool reported, None if it has not.
        """
        self._telemetry.end_process(operation, ending, self._ended_at(request, operation, info))

    @never_raises(do_nothing)
    def record_lost(self, request: Any, info: Any, ended_at: float | None) -> None:
        """Record a lost delivery of a batch, which Celery does not handle any further."""
        if self.has_ended(request):
            return
        operation = self.take(request)
        ending = outcomes.of_cancelled(request)
        if info is not None:
            ending = outcomes.of_lost(info, request, operation.delivery, None)
        self._telemetry.end_process(operation, ending, ended_at)

    def signal_of(self, request: Any) -> str:
        """Return the name of the signal that the process was sent."""
        sent = self._signals.get(request)
        try:
            return signal.Signals(sent.number or 0).name if sent else "a signal"
        except ValueError:
            return "a signal"

    def to_delivery(
        self, request: Any, embed: Mapping[str, Any] | None = None
    ) -> tuple[Delivery, Mapping[str, object]]:
        """Translate `request` into a delivery; return it with the carrier of the message.

        `embed` is what the body has besides the arguments; None leaves it out.
        """
        headers = {**request.request_dict, **embed} if embed else request.request_dict
        route = self._routes.of_request(request.app, request.type, headers)
        receipt = translation.receipt(headers)
        if receipt is translation.NO_RECEIPT:
            receipt = (received_at(request), None, None)
        delivery = translation.to_delivery(
            headers, route, translation.max_retries(request.task), receipt, request.worker_pid
        )
        if self._telemetry.wants_arguments:
            delivery = delivery._replace(arguments=arguments.of_request(request.task, headers))
        return delivery, translation.carrier(headers)

    def _open(self, request: Any) -> ProcessOperation:
        delivery, carrier = self.to_delivery(request, _embed_of(request))
        return self._telemetry.open_process(delivery, carrier, request.time_start)

    @never_raises(_now)
    def _ended_at(self, request: Any, operation: ProcessOperation, info: Any) -> float | None:
        """Return the end in seconds since the epoch; None for now.

        What the pool process has written is exact. SIGKILL ends a task at once. Another signal may
        be ignored for long; its time is used only where pool processes cannot write.
        """
        sent = self._signals.get(request)
        at_once = sent and (sent.number == signal.SIGKILL or not self._exit_times.are_shared())
        return (
            exit_times.time_limit_reached_at(request, outcomes.exception_of(info))
            or self._exit_times.read(operation.delivery.span_id)
            or (sent.at if sent and at_once else None)
            or exit_times.loss_noticed_at(job_of(request))
        )


@never_raises(dict[str, Any])
def _embed_of(request: Any) -> dict[str, Any]:
    """Return what the body has besides the arguments: the body of a chord, the steps that follow.

    Celery merges it into the request in the process that runs the task.
    """
    _, _, embed = request._payload  # noqa: SLF001 - Celery has no public name for it
    return dict(embed)


def is_handled(request: Any) -> bool:
    """Whether an outer wrapper handles `request` already: then inner ones do nothing."""
    return _handled_request.get() is request


def job_of(request: Any) -> Any:
    """Return the job of the pool for `request`; None before it has one, or after it was deleted."""
    reference = request._apply_result  # noqa: SLF001 - Celery has no public name for it
    return reference() if reference else None


def is_reported(request: Any) -> bool:
    """Whether the pool has reported how `request` ended, maybe in another thread."""
    job = job_of(request)
    return request._apply_result is not None and (job is None or job.ready())  # noqa: SLF001
