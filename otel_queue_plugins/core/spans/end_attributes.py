"""The attributes, events and status that a process span gets with its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.trace import Span, Status, StatusCode

from otel_queue_plugins.core import exceptions, semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import MAX_TEXT, bounded, int64_or_none
from otel_queue_plugins.core.messages import Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.outcomes import ERRORS, SUCCESS, error_type

Attributes = dict[str, Value]

_EVENTS: Final[Mapping[Outcome, str]] = {
    Outcome.RETRY: semconv.EVENT_RETRY,
    Outcome.DEAD_LETTER: semconv.EVENT_DEAD_LETTER,
    Outcome.REVOKED: semconv.EVENT_REVOKED,
    Outcome.EXPIRED: semconv.EVENT_EXPIRED,
    Outcome.SKIPPED: semconv.EVENT_SKIPPED,
    Outcome.LOST: semconv.EVENT_LOST,
}
_REASONS: Final[Mapping[Outcome, str]] = {
    Outcome.RETRY: semconv.RETRY_REASON,
    Outcome.FAILURE: semconv.RETRY_REASON,
    Outcome.TIMEOUT: semconv.RETRY_REASON,
    Outcome.DEAD_LETTER: semconv.DEAD_LETTER_REASON,
    Outcome.SKIPPED: semconv.SKIP_REASON,
    Outcome.REVOKED: semconv.SKIP_REASON,
    Outcome.EXPIRED: semconv.SKIP_REASON,
    Outcome.LOST: semconv.LOST_REASON,
}
_EVENT_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    semconv.EVENT_RETRY: (semconv.RETRY_REASON, semconv.RETRY_DELAY),
    semconv.EVENT_DEAD_LETTER: (semconv.DEAD_LETTER_REASON, semconv.DEAD_LETTER_QUEUE),
    semconv.EVENT_REVOKED: (semconv.SKIP_REASON,),
    semconv.EVENT_EXPIRED: (semconv.SKIP_REASON,),
    semconv.EVENT_SKIPPED: (semconv.SKIP_REASON,),
    semconv.EVENT_LOST: (semconv.LOST_REASON,),
}
_SUCCESS_TEXT: Final = SUCCESS.value


def describe_ending(
    operation: ProcessOperation, ending: Ending, options: Options, ended_ns: int
) -> Attributes:
    """Add the events and the status of the ended delivery to its span; return its attributes."""
    if ending.outcome is SUCCESS:
        attributes: Attributes = {semconv.TASK_OUTCOME: _SUCCESS_TEXT}
    else:
        attributes = {semconv.TASK_OUTCOME: ending.outcome.value}
        _describe_other_outcome(operation, ending, options, attributes, ended_ns)
    max_attempts = int64_or_none(operation.delivery.max_attempts)
    if max_attempts is not None:  # not at the start: Celery's `retry` may change it
        attributes[semconv.TASK_MAX_ATTEMPTS] = max_attempts
    return attributes


def _describe_other_outcome(
    operation: ProcessOperation,
    ending: Ending,
    options: Options,
    attributes: Attributes,
    ended_ns: int,
) -> None:
    span = operation.span
    reason = None if ending.reason is None else options.redact.head(ending.reason, MAX_TEXT)
    is_dead = ending.dead_letter_queue is not None and ending.outcome in ERRORS
    name = semconv.DEAD_LETTER_REASON if is_dead else _REASONS.get(ending.outcome)
    if name and reason is not None:
        attributes[name] = reason
    if ending.delay is not None:
        attributes[semconv.RETRY_DELAY] = ending.delay
    if ending.dead_letter_queue is not None:
        attributes[semconv.DEAD_LETTER_QUEUE] = bounded(ending.dead_letter_queue)
        attributes[semconv.DEAD_LETTER_REASON] = reason or ending.outcome.value
    for event in _events(ending):
        shown = {key: attributes[key] for key in _EVENT_ATTRIBUTES[event] if key in attributes}
        if event == semconv.EVENT_RETRY:
            shown.update(_attempt(operation.delivery, ending))
        span.add_event(event, options.on_span(shown), ended_ns)
    if ending.outcome in ERRORS:
        _describe_error(span, ending, options, attributes, ended_ns)
    elif ending.outcome is Outcome.RETRY and options.retry_is_error:
        span.set_status(Status(StatusCode.ERROR, reason))


def _events(ending: Ending) -> list[str]:
    """The events of the ending; a skipped or timed-out message may also be a dead letter."""
    events = [_EVENTS[ending.outcome]] if ending.outcome in _EVENTS else []
    if ending.dead_letter_queue is not None and semconv.EVENT_DEAD_LETTER not in events:
        events.append(semconv.EVENT_DEAD_LETTER)
    return events


def _attempt(delivery: Delivery, ending: Ending) -> Attributes:
    """The attempt that is retried, and its error, which is no error of the span."""
    attempt: Attributes = {semconv.TASK_ATTEMPT: delivery.attempt}
    if ending.error is not None:
        attempt[semconv.ERROR_TYPE] = exceptions.type_name(ending.error)
    return attempt


def _describe_error(
    span: Span, ending: Ending, options: Options, attributes: Attributes, ended_ns: int
) -> None:
    attributes[semconv.ERROR_TYPE] = error_type(ending) or ""
    error = ending.error
    if error is None:
        reason = options.redact.head(ending.reason or ending.outcome.value, MAX_TEXT)
        span.set_status(Status(StatusCode.ERROR, reason))
        return
    message = exceptions.message(error, options.redact)
    attributes[semconv.EXCEPTION_MESSAGE] = message
    if ending.expected:
        return
    span.set_status(Status(StatusCode.ERROR, message))
    stacktrace = exceptions.stacktrace(error, ending.stacktrace, options.redact)
    attributes[semconv.EXCEPTION_STACKTRACE] = stacktrace
    exception = {
        semconv.EXCEPTION_TYPE: exceptions.type_name(error),
        semconv.EXCEPTION_MESSAGE: message,
        semconv.EXCEPTION_STACKTRACE: stacktrace,
    }
    exceptions.record(span, semconv.LOG_PROCESS_EXCEPTION, exception, options, ended_ns)
