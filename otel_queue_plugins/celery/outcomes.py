"""From what Celery's tracer returned or raised to the ending of a delivery."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from celery import states
from celery.exceptions import MaxRetriesExceededError, SoftTimeLimitExceeded

from otel_queue_plugins.core import errors
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome


def of_result(result: Any, task: Any, delivery: Delivery) -> Ending:
    """The ending of a task whose tracer returned `result`, a `celery.app.trace.trace_ok_t`."""
    info = result.info
    if info is None:
        return SUCCEEDED
    value = info.retval
    if info.state == states.RETRY:
        return of_retry(value)
    if info.state == states.REJECTED:
        return of_reject(value)
    if info.state == states.IGNORED:
        return Ending(outcome=Outcome.IGNORED)
    return of_failure(value, task, delivery, getattr(result.retval, "traceback", None))


def of_retry(retry: Any) -> Ending:
    """The ending of an attempt that raised `retry`, a `celery.exceptions.Retry`."""
    cause = getattr(retry, "exc", None)
    cause = cause if isinstance(cause, BaseException) else None
    reason = errors.message(cause) if cause else getattr(retry, "message", None)
    return Ending(
        outcome=Outcome.RETRY,
        error=cause,
        reason=None if reason is None else str(reason),
        delay=_seconds_until(getattr(retry, "when", None)),
    )


def of_reject(reject: Any) -> Ending:
    """The ending of an attempt that raised `reject`, a `celery.exceptions.Reject`."""
    requeue = bool(getattr(reject, "requeue", False))
    outcome = Outcome.REQUEUED if requeue else Outcome.REJECTED
    reason = getattr(reject, "reason", None)
    error = reason if isinstance(reason, BaseException) else reject
    return Ending(outcome=outcome, error=error, reason=None if reason is None else _text(reason))


def of_failure(
    error: BaseException, task: Any, delivery: Delivery, stacktrace: str | None = None
) -> Ending:
    """The ending of a task that failed with `error`, whose traceback Celery has formatted."""
    timeout = isinstance(error, SoftTimeLimitExceeded)
    return Ending(
        outcome=Outcome.TIMEOUT if timeout else Outcome.FAILURE,
        error=error,
        expected=isinstance(error, tuple(getattr(task, "throws", None) or ())),
        stacktrace=stacktrace,
        reason="max retries exceeded" if _gave_up(error, delivery) else None,
    )


def _gave_up(error: BaseException, delivery: Delivery) -> bool:
    limit = delivery.max_attempts
    exhausted = limit is not None and delivery.attempt > 1 and delivery.attempt >= limit
    return exhausted or isinstance(error, MaxRetriesExceededError)


def _seconds_until(when: Any) -> float | None:
    if isinstance(when, datetime):
        now = datetime.now(when.tzinfo or timezone.utc)
        aware = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
        return max(0.0, (aware - now).total_seconds())
    return float(when) if isinstance(when, (int, float)) else None


def _text(reason: object) -> str:
    return errors.message(reason) if isinstance(reason, BaseException) else str(reason)
