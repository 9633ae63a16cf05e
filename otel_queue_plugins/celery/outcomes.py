"""Translate what Celery knows of the end of a task into the ending of its delivery."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, SoftTimeLimitExceeded

from otel_queue_plugins.celery import destinations, translation
from otel_queue_plugins.core import exceptions
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.safety import log_failure, never_raises

GAVE_UP: Final = "max retries exceeded"
CANCELLED: Final = "cancelled by Celery"


def _unclassified() -> Ending:
    return Ending(outcome=Outcome.FAILURE)


def of_result(result: Any, task: Any, delivery: Delivery) -> Ending:
    """Return the ending for what a tracer returned, a `celery.app.trace.trace_ok_t`."""
    try:
        if result.info is None and result.runtime is not None:
            return SUCCEEDED
    except Exception:  # noqa: BLE001 - as `never_raises`, for a third of the cost
        log_failure("of_result")
        return _unclassified()
    return _of_unsuccessful(result, task, delivery)


@never_raises(_unclassified)
def _of_unsuccessful(result: Any, task: Any, delivery: Delivery) -> Ending:
    info = result.info
    if info is not None:
        stacktrace = getattr(result.retval, "traceback", None)
        return of_error(info.retval, task, delivery, stacktrace)
    if isinstance(result.retval, ExceptionInfo):
        return _of_info(result.retval, task, delivery)
    return Ending(outcome=Outcome.SKIPPED, reason="has succeeded before")


@never_raises(_unclassified)
def of_pool_result(pool_result: Any, task: Any, delivery: Delivery) -> Ending:
    """Return the ending of a task whose process returned `pool_result`.

    That is `(failed, return value or ExceptionInfo, runtime)`.
    """
    failed, value, _ = pool_result
    return _of_info(value, task, delivery) if failed else SUCCEEDED


@never_raises(_unclassified)
def of_escaped(error: BaseException, task: Any, delivery: Delivery) -> Ending:
    """Return the ending of a task whose tracer raised `error`, recorded by the same process."""
    if isinstance(error, Exception):
        return of_error(error, task, delivery)
    if _is_instance("greenlet", "GreenletExit", error):
        return Ending(outcome=Outcome.REVOKED, reason="terminated", cancellation="terminated")
    if _is_instance("gevent", "Timeout", error):
        return Ending(outcome=Outcome.TIMEOUT, error=error)
    return Ending(outcome=Outcome.LOST, error=error, reason=exceptions.type_name(error))


@never_raises(_unclassified)
def of_lost(info: Any, request: Any, delivery: Delivery, terminated_by: str | None) -> Ending:
    """Return the ending of a task whose process is lost, once Celery has handled that.

    `request` is a `celery.worker.request.Request`. `info` is a billiard ExceptionInfo, None if the
    pool did not report the end of a task that was terminated. `terminated_by` is the reason for a
    task that a user has terminated, None for the default.
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
    """Return the ending of a task that Celery has cancelled: a retry if it was not acknowledged."""
    outcome = Outcome.LOST if request.acknowledged else Outcome.RETRY
    return Ending(outcome=outcome, reason=CANCELLED)


@never_raises(lambda: Ending(outcome=Outcome.RETRY))
def of_lost_and_retried(info: Any, task: Any) -> Ending:
    """Return the ending of a lost task that Celery retries (`retry_on_worker_lost`)."""
    return Ending(
        outcome=Outcome.RETRY,
        error=exception_of(info),
        reason="worker lost",
        delay=_seconds_until(task.default_retry_delay),
    )


def of_error(
    error: BaseException | None, task: Any, delivery: Delivery, stacktrace: str | None = None
) -> Ending:
    """Return the ending of a task that raised `error`, which may be an exception of Celery's."""
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
def of_batch_error(error: object, task: Any) -> Ending:
    """Return the ending of a message of a batch that raised `error`, which is not retried."""
    raised = error if isinstance(error, BaseException) else None
    timeout = isinstance(raised, SoftTimeLimitExceeded)
    return Ending(
        outcome=Outcome.TIMEOUT if timeout else Outcome.FAILURE,
        error=raised,
        expected=isinstance(raised, getattr(task, "throws", None) or ()),
    )


@never_raises(lambda: Ending(outcome=Outcome.RETRY))
def of_batch_retry(error: object) -> Ending:
    """Return the ending of a message of a batch that its task has marked for a retry."""
    raised = error if isinstance(error, BaseException) else None
    return Ending(outcome=Outcome.RETRY, error=raised, reason=_text(error))


def of_retry(retry: Any) -> Ending:
    """Return the ending of an attempt that raised `retry`, a `celery.exceptions.Retry`."""
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
    """Return the ending of an attempt that raised `reject`, a `celery.exceptions.Reject`."""
    # Without `acks_late` the message was acknowledged before the task ran: Celery does nothing.
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
            destinations.dead_letter_queue(task.app, delivery.route)
            if late and not requeue
            else None
        ),
    )


def _of_info(info: Any, task: Any, delivery: Delivery) -> Ending:
    return of_error(exception_of(info), task, delivery, info.traceback)


def exception_of(info: Any) -> BaseException | None:
    """Return the exception in `info`, a billiard ExceptionInfo; None without one."""
    error = getattr(info, "exception", None)
    if isinstance(error, ExceptionWithTraceback):
        error = error.exc
    return error if isinstance(error, BaseException) else None


def _gave_up(error: BaseException | None, delivery: Delivery) -> bool:
    """Whether `error` ended the last attempt of a message that was retried."""
    if isinstance(error, MaxRetriesExceededError):
        return True
    limit = delivery.max_attempts
    return limit is not None and 1 < delivery.attempt >= limit


def _is_failed_retry(reject: Any) -> bool:
    """Whether `Task.retry` raised `reject` because the next attempt could not be sent."""
    innermost = reject.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    module = innermost.tb_frame.f_globals.get("__name__") if innermost else None
    return module == "celery.app.task" and isinstance(reject.reason, BaseException)


def _is_instance(module: str, name: str, error: BaseException) -> bool:
    """Whether `error` is an instance of that class; never if its module is not imported."""
    error_type = getattr(sys.modules.get(module), name, None)
    return error_type is not None and isinstance(error, error_type)


def _seconds_until(when: object) -> float | None:
    """Return the seconds until `when`, a countdown in seconds or a time in a form Celery accepts.

    None if it is neither; 0 if it has passed.
    """
    if isinstance(when, (int, float)):
        return max(0.0, float(when))
    at = translation.timestamp(when)
    return None if at is None else max(0.0, at - time.time())


def _text(reason: object) -> str:
    return exceptions.message(reason) if isinstance(reason, BaseException) else str(reason)
