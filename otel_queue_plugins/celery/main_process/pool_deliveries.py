"""Deliveries that run in a pool, as the process that receives messages knows them."""

from __future__ import annotations

import signal
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from otel_queue_plugins.celery import outcomes, translation
from otel_queue_plugins.celery.main_process import exits
from otel_queue_plugins.celery.main_process.exits import Exits
from otel_queue_plugins.celery.main_process.receipt import received_at
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.messages import Delivery, Ending
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk import relay

ELSEWHERE: Final = "otel_queue_elsewhere"
"""The attribute of a request class whose tasks run in processes that may die."""

_within: Final[ContextVar[Any]] = ContextVar("otel_queue_celery_within", default=None)
"""The request that this thread does something about."""


def _now() -> float | None:
    """The end of which nothing better is known."""
    return None


class Signalled(NamedTuple):
    """What a task was sent: the time in seconds since the epoch, and the signal."""

    at: float
    number: int | None


class Held(NamedTuple):
    """A delivery that was sent a signal, and what tells of the end of the pool's job."""

    operation: ProcessOperation
    watch: weakref.ref[Any] | None


class Ends:
    """The deliveries whose end is seen here: each is recorded once, here or by who ran it.

    What was sent a signal is held until the pool reports. Who takes a delivery records it; what is
    dropped is recorded elsewhere. `forgotten` is called with a request that is held when the pool
    has forgotten its job, as Celery before 5.5 makes it do when the broker is lost.
    """

    def __init__(
        self,
        telemetry: QueueTelemetry,
        routes: Routes,
        noted: Exits,
        forgotten: Callable[[Any], None],
    ) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._exits = noted
        self._signals: weakref.WeakKeyDictionary[Any, Signalled] = weakref.WeakKeyDictionary()
        self._forgotten = forgotten
        self.held: dict[Any, Held] = {}

    @never_raises(ProcessOperation)
    def hold(self, request: Any, number: int | None) -> ProcessOperation:
        """The delivery that was sent signal `number`; a stand-in if the pool has reported it."""
        if not getattr(request, ELSEWHERE, False) or is_reported(request):
            return self.reference_process(request)
        self._signals[request] = Signalled(time.time(), number)
        job = job_of(request)
        watch = None if job is None else weakref.ref(job, lambda _: self._forgotten(request))
        return self.held.setdefault(request, Held(self._open(request), watch)).operation

    @never_raises(ProcessOperation)
    def take(self, request: Any) -> ProcessOperation:
        """The delivery, for the caller to record."""
        held = self.held.pop(request, None)
        return self._open(request) if held is None else held.operation

    @never_raises(do_nothing)
    def drop(self, request: Any) -> None:
        """Who ran the delivery has recorded it."""
        held = self.held.pop(request, None)
        if held is not None:
            self._telemetry.abandon_process(held.operation)

    @never_raises(bool)
    def has_ended(self, request: Any) -> bool:
        """Whether the process that was lost had done the task, and had said so.

        Only its result was not on its way yet. What it said counts.
        """
        ended = relay.has_ended(translation.receipt(request.request_dict)[1])
        if ended:
            self.drop(request)
        return ended

    @never_raises(ProcessOperation)
    def reference_process(self, request: Any) -> ProcessOperation:
        """What belongs to a delivery that is recorded elsewhere can be done inside of this."""
        delivery, carrier = self.facts(request)
        return self._telemetry.reference_process(delivery, carrier, request.time_start)

    @contextmanager
    def inside(self, request: Any, operation: ProcessOperation) -> Iterator[None]:
        """Do something about `request` inside the delivery; until then `is_within` is true."""
        token = _within.set(request)
        try:
            with operation.inside():
                yield
        finally:
            _within.reset(token)

    def record(
        self, request: Any, operation: ProcessOperation, ending: Ending, info: Any = None
    ) -> None:
        """Record a delivery that was taken, with the time at which it ended.

        `info` is what the pool reported, None if it did not.
        """
        self._telemetry.end_process(operation, ending, self._ended_at(request, operation, info))

    @never_raises(do_nothing)
    def lose(self, request: Any, info: Any, ended_at: float | None) -> None:
        """Record a delivery of a batch, about which Celery does nothing more."""
        if self.has_ended(request):
            return
        operation = self.take(request)
        ending = outcomes.of_cancelled(request)
        if info is not None:
            ending = outcomes.of_lost(info, request, operation.delivery, None)
        self._telemetry.end_process(operation, ending, ended_at)

    def signal_of(self, request: Any) -> str:
        """The name of the signal that a task was sent."""
        sent = self._signals.get(request)
        try:
            return signal.Signals(sent.number or 0).name if sent else "a signal"
        except ValueError:
            return "a signal"

    def facts(self, request: Any) -> tuple[Delivery, Mapping[str, object]]:
        """The delivery that `request` is, and what it carries."""
        headers = request.request_dict
        route = self._routes.of_request(request.app, request.type, headers)
        receipt = translation.receipt(headers)
        if receipt is translation.NO_RECEIPT:
            receipt = (received_at(request), None, None)
        delivery = translation.delivery(
            headers, route, translation.max_retries(request.task), receipt, request.worker_pid
        )
        return delivery, translation.carrier(headers)

    def _open(self, request: Any) -> ProcessOperation:
        delivery, carrier = self.facts(request)
        return self._telemetry.open_process(delivery, carrier, request.time_start)

    @never_raises(_now)
    def _ended_at(self, request: Any, operation: ProcessOperation, info: Any) -> float | None:
        """Seconds since the epoch; None for now.

        What the child noted is exact. A signal that leaves no time to note anything is sent when
        the task ends; another may be ignored for long, which is not known where nothing is noted.
        """
        sent = self._signals.get(request)
        at_once = sent and (sent.number == signal.SIGKILL or not self._exits.are_noted())
        return (
            exits.time_is_up(request, outcomes.exception_of(info))
            or self._exits.noted(operation.delivery.span_id)
            or (sent.at if sent and at_once else None)
            or exits.loss_noticed(job_of(request))
        )


def is_within(request: Any) -> bool:
    """Whether this is called by what is done about `request`: of wrappers the outermost counts."""
    return _within.get() is request


def job_of(request: Any) -> Any:
    """What the pool knows `request` by, None if it has forgotten it, or never knew."""
    reference = request._apply_result  # noqa: SLF001 - Celery has no public name for it
    return reference() if reference else None


def is_reported(request: Any) -> bool:
    """Whether the pool has said how `request` ended. It does so in another thread, maybe."""
    job = job_of(request)
    return request._apply_result is not None and (job is None or job.ready())  # noqa: SLF001
