"""From what Celery knows of how a task ended to the ending of its delivery."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, SoftTimeLimitExceeded

from otel_queue_plugins.celery import dead_letters, translation
from otel_queue_plugins.core import exceptions
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.safety import log_failure, never_raises

GAVE_UP: Final = "max retries exceeded"
CANCELLED: Final = "cancelled by Celery"


def _unclassified() -> Ending:
    return Ending(outcome=Outcome.FAILURE)


def of_result(result: Any, task: Any, delivery: Delivery) -> Ending:
    """The ending of a task whose tracer returned `result`, a `celery.app.trace.trace_ok_t`."""
    try:
        if result.info is None and result.runtime is not None:
            return SUCCEEDED
    except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
        log_failure("of_result")
        return _unclassified()
    return _of_trouble(result, task, delivery)


@never_raises(_unclassified)
def _of_trouble(result: Any, task: Any, delivery: Delivery) -> Ending:
    info = result.info
    if info is not None:
        stacktrace = getattr(result.retval, "traceback", None)
        return of_error(info.retval, task, delivery, stacktrace)
    if isinstance(result.retval, ExceptionInfo):
        return _of_info(result.retval, task, delivery)
    return Ending(outcome=Outcome.SKIPPED, reason="has succeeded before")


@never_raises(_unclassified)
def of_handed_back(handed_back: Any, task: Any, delivery: Delivery) -> Ending:
    """The ending of a task for which the pool has `(failed, result or ExceptionInfo, runtime)`."""
    failed, value, _ = handed_back
    return _of_info(value, task, delivery) if failed else SUCCEEDED


@never_raises(_unclassified)
def of_escaped(error: BaseException, task: Any, delivery: Delivery) -> Ending:
    """The ending of a task whose tracer let `error` out, in a process that goes on."""
    if isinstance(error, Exception):
        return of_error(error, task, delivery)
    if _is_a("greenlet", "GreenletExit", error):
        return Ending(outcome=Outcome.REVOKED, reason="terminated", cancellation="terminated")
    if _is_a("gevent", "Timeout", error):
        return Ending(outcome=Outcome.TIMEOUT, error=error)
    return Ending(outcome=Outcome.LOST, error=error, reason=exceptions.type_name(error))


@never_raises(_unclassified)
def of_lost(info: Any, request: Any, delivery: Delivery, terminated_by: str | None) -> Ending:
    """The ending of a task that the pool lost, once Celery has decided what becomes of it.

    `request` is a `celery.worker.request.Request`, `info` a billiard ExceptionInfo (None if the
    pool never said what became of a task that was terminated) and `terminated_by` what a user ended
    the task with, if one did.
    """
    error = exception_of(info)
    if isinstance(error, TimeLimitExceeded):
        return Ending(outcome=Outcome.TIMEOUT, error=error, stacktrace=info.traceback)
    if request._already_cancelled:  # noqa: SLF001 - Celery has no public name for it
        return of_cancelled(request)
    if info is None or request._already_revoked or isinstance(error, Terminated):  # noqa: SLF001
        reason = terminated_by or "terminated"
        return Ending(outcome=Outcome.REVOKED, reason=reason, cancellation="terminated")
    if isinstance(error, (WorkerLostError, SystemExit, KeyboardInterrupt)):
        reason = exceptions.message(error)
        return Ending(outcome=Outcome.LOST, error=error, reason=reason, stacktrace=info.traceback)
    return of_error(error, request.task, delivery, info.traceback)


def of_cancelled(request: Any) -> Ending:
    """The ending of a task that Celery itself ended: the message comes again if it was kept."""
    outcome = Outcome.LOST if request.acknowledged else Outcome.RETRY
    return Ending(outcome=outcome, reason=CANCELLED)


@never_raises(lambda: Ending(outcome=Outcome.RETRY))
def of_lost_and_retried(info: Any, task: Any) -> Ending:
    """The ending of a lost task that Celery has sent again (`retry_on_worker_lost`)."""
    return Ending(
        outcome=Outcome.RETRY,
        error=exception_of(info),
        reason="worker lost",
        delay=_seconds_until(task.default_retry_delay),
    )


def of_error(
    error: BaseException | None, task: Any, delivery: Delivery, stacktrace: str | None = None
) -> Ending:
    """The ending of a task that raised `error`, be that one of Celery's own exceptions."""
    if isinstance(error, Retry):
        return of_retry(error)
    if isinstance(error, Reject):
        return of_reject(error, task, delivery)
    if isinstance(error, Ignore):
        return Ending(outcome=Outcome.IGNORED)
    timeout = isinstance(error, SoftTimeLimitExceeded)
    throws = getattr(task, "throws", None) or ()
    return Ending(
        outcome=Outcome.TIMEOUT if timeout else Outcome.FAILURE,
        error=error,
        expected=isinstance(error, throws),
        stacktrace=stacktrace,
        reason=GAVE_UP if _gave_up(error, delivery) else None,
    )


@never_raises(_unclassified)
def of_batch(error: object, task: Any) -> Ending:
    """The ending of a message of a batch that raised `error`, which nothing tries again."""
    raised = error if isinstance(error, BaseException) else None
    timeout = isinstance(raised, SoftTimeLimitExceeded)
    return Ending(
        outcome=Outcome.TIMEOUT if timeout else Outcome.FAILURE,
        error=raised,
        expected=isinstance(raised, getattr(task, "throws", None) or ()),
    )


@never_raises(lambda: Ending(outcome=Outcome.RETRY))
def of_batch_retry(error: object) -> Ending:
    """The ending of a message of a batch that its task marks as one to be tried again."""
    raised = error if isinstance(error, BaseException) else None
    return Ending(outcome=Outcome.RETRY, error=raised, reason=_text(error))


def of_retry(retry: Any) -> Ending:
    """The ending of an attempt that raised `retry`, a `celery.exceptions.Retry`."""
    cause = getattr(retry, "exc", None)
    cause = cause if isinstance(cause, BaseException) else None
    reason = exceptions.message(cause) if cause else getattr(retry, "message", None)
    return Ending(
        outcome=Outcome.RETRY,
        error=cause,
        reason=None if reason is None else str(reason),
        delay=_seconds_until(getattr(retry, "when", None)),
    )


def of_reject(reject: Any, task: Any, delivery: Delivery) -> Ending:
    """The ending of an attempt that raised `reject`, a `celery.exceptions.Reject`."""
    # Without `acks_late` the message was acknowledged before the task ran: nothing becomes of it.
    late = bool(getattr(task, "acks_late", False))
    requeue = late and bool(getattr(reject, "requeue", False))
    if not requeue and _is_failed_retry(reject):
        why = f"retry could not be sent: {exceptions.message(reject.reason)}"
        return Ending(outcome=Outcome.LOST, error=reject.reason, reason=why)
    reason = getattr(reject, "reason", None)
    return Ending(
        outcome=Outcome.REQUEUED if requeue else Outcome.REJECTED,
        error=reason if isinstance(reason, BaseException) else reject,
        reason=None if reason is None else _text(reason),
        dead_letter_queue=(
            dead_letters.queue_of(task.app, delivery.route) if late and not requeue else None
        ),
    )


def _of_info(info: Any, task: Any, delivery: Delivery) -> Ending:
    return of_error(exception_of(info), task, delivery, info.traceback)


def exception_of(info: Any) -> BaseException | None:
    """The exception in `info`, a billiard ExceptionInfo; None if there is none."""
    error = getattr(info, "exception", None)
    if isinstance(error, ExceptionWithTraceback):
        error = error.exc
    return error if isinstance(error, BaseException) else None


def _gave_up(error: BaseException | None, delivery: Delivery) -> bool:
    if isinstance(error, MaxRetriesExceededError):
        return True
    limit = delivery.max_attempts
    return limit is not None and 1 < delivery.attempt >= limit


def _is_failed_retry(reject: Any) -> bool:
    """Whether `Task.retry` raised `reject` because the next attempt could not be sent."""
    place = reject.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    here = place.tb_frame.f_globals.get("__name__") if place else None
    return here == "celery.app.task" and isinstance(reject.reason, BaseException)


def _is_a(module: str, name: str, error: BaseException) -> bool:
    """Whether `error` is of that class, which cannot be if its module was never imported."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(error, kind)


def _seconds_until(when: object) -> float | None:
    """How long it is until `when`: a countdown in seconds, or a time as Celery takes it."""
    if isinstance(when, (int, float)):
        return max(0.0, float(when))
    at = translation.timestamp(when)
    return None if at is None else max(0.0, at - time.time())


def _text(reason: object) -> str:
    return exceptions.message(reason) if isinstance(reason, BaseException) else str(reason)
