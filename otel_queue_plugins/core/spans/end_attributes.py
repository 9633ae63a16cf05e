"""What a process span says about how its delivery went and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded, valid_text, whole
from otel_queue_plugins.core.messages import (
    SUCCEEDED,
    CancellationScope,
    Delivery,
    Ending,
    Outcome,
)
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.spans import exceptions
from otel_queue_plugins.core.spans.operation import ProcessOperation

Attributes = dict[str, Value]

# Bound once: the members of an Enum are slow to reach in Python 3.11.
SUCCESS: Final = SUCCEEDED.outcome
_SUCCESS_TEXT: Final = SUCCESS.value

ERRORS: Final = frozenset(
    {
        Outcome.FAILURE,
        Outcome.DEAD_LETTER,
        Outcome.REJECTED,
        Outcome.TIMEOUT,
        Outcome.LOST,
        Outcome.UNKNOWN_TASK,
        Outcome.UNDECODABLE,
    }
)
FINAL: Final = frozenset(Outcome) - {Outcome.RETRY, Outcome.REQUEUED}

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
_SAID_BY_EVENT: Final[Mapping[str, tuple[str, ...]]] = {
    semconv.EVENT_RETRY: (semconv.RETRY_REASON, semconv.RETRY_DELAY),
    semconv.EVENT_DEAD_LETTER: (semconv.DEAD_LETTER_REASON, semconv.DEAD_LETTER_QUEUE),
    semconv.EVENT_REVOKED: (semconv.SKIP_REASON,),
    semconv.EVENT_EXPIRED: (semconv.SKIP_REASON,),
    semconv.EVENT_SKIPPED: (semconv.SKIP_REASON,),
    semconv.EVENT_LOST: (semconv.LOST_REASON,),
}
_CANCELLATIONS: Final[Mapping[Outcome, CancellationScope]] = {
    Outcome.REVOKED: "revoked",
    Outcome.EXPIRED: "expired",
    Outcome.SKIPPED: "skipped",
}


def error_type(ending: Ending) -> str | None:
    """`error.type` of the ending: None unless the outcome is an error (or an expected one)."""
    if ending.outcome not in ERRORS:
        return None
    return exceptions.type_name(ending.error) if ending.error else ending.outcome.value


def cancellation(ending: Ending) -> CancellationScope | None:
    """What kind of cancellation the ending is, if any."""
    return ending.cancellation or _CANCELLATIONS.get(ending.outcome)


def describe_ending(
    operation: ProcessOperation, ending: Ending, options: Options, ended_ns: int
) -> Attributes:
    """Put events and status of the ended delivery on its span; returns the attributes due."""
    if ending.outcome is SUCCESS:
        attributes: Attributes = {semconv.TASK_OUTCOME: _SUCCESS_TEXT}
    else:
        attributes = {semconv.TASK_OUTCOME: ending.outcome.value}
        _describe_trouble(operation, ending, options, attributes, ended_ns)
    most = whole(operation.delivery.max_attempts)
    if most is not None:  # not said at the start: Celery's `retry` may change it
        attributes[semconv.TASK_MAX_ATTEMPTS] = most
    return attributes


def _describe_trouble(
    operation: ProcessOperation,
    ending: Ending,
    options: Options,
    attributes: Attributes,
    ended_ns: int,
) -> None:
    span = operation.span
    reason = None if ending.reason is None else valid_text(ending.reason)
    died = ending.dead_letter_queue is not None and ending.outcome in ERRORS
    name = semconv.DEAD_LETTER_REASON if died else _REASONS.get(ending.outcome)
    if name and reason is not None:
        attributes[name] = reason
    if ending.delay is not None:
        attributes[semconv.RETRY_DELAY] = ending.delay
    if ending.dead_letter_queue is not None:
        attributes[semconv.DEAD_LETTER_QUEUE] = bounded(ending.dead_letter_queue)
        attributes[semconv.DEAD_LETTER_REASON] = reason or ending.outcome.value
    for event in _events(ending):
        said = {key: attributes[key] for key in _SAID_BY_EVENT[event] if key in attributes}
        if event == semconv.EVENT_RETRY:
            said.update(_attempt(operation.delivery, ending))
        span.add_event(event, said, ended_ns)
    if ending.outcome in ERRORS:
        _describe_error(span, ending, options, attributes, ended_ns)
    elif ending.outcome is Outcome.RETRY and options.retry_is_error:
        span.set_status(Status(StatusCode.ERROR, reason))


def _events(ending: Ending) -> list[str]:
    """What happened: a message that was skipped or timed out may also be a dead letter."""
    events = [_EVENTS[ending.outcome]] if ending.outcome in _EVENTS else []
    if ending.dead_letter_queue is not None and semconv.EVENT_DEAD_LETTER not in events:
        events.append(semconv.EVENT_DEAD_LETTER)
    return events


def _attempt(delivery: Delivery, ending: Ending) -> Attributes:
    """Which attempt will be tried again; its error is none of the span's."""
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
        reason = valid_text(ending.reason or ending.outcome.value)
        span.set_status(Status(StatusCode.ERROR, reason))
        return
    message = exceptions.message(error)
    attributes[semconv.EXCEPTION_MESSAGE] = message
    if ending.expected:
        return
    span.set_status(Status(StatusCode.ERROR, message))
    stacktrace = exceptions.stacktrace(error, ending.stacktrace)
    attributes[semconv.EXCEPTION_STACKTRACE] = stacktrace
    exception = {
        semconv.EXCEPTION_TYPE: exceptions.type_name(error),
        semconv.EXCEPTION_MESSAGE: message,
        semconv.EXCEPTION_STACKTRACE: stacktrace,
    }
    record_exception(span, semconv.LOG_PROCESS_EXCEPTION, exception, options, ended_ns)


def record_exception(
    span: Span, log_name: str, attributes: dict[str, str], options: Options, at_ns: int
) -> None:
    """Record an exception where OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN wants it: event, log, both.

    With a version of the API that has no logs where they are today, it is an event.
    """
    wanted = options.exception_signal
    is_logged = bool(wanted) and _log_exception(span, log_name, attributes, at_ns)
    if wanted != "logs" or not is_logged:
        span.add_event(semconv.EVENT_EXCEPTION, attributes, at_ns)


def _log_exception(span: Span, name: str, attributes: dict[str, str], at_ns: int) -> bool:
    try:
        from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
    except ImportError:
        return False
    severe = name == semconv.LOG_PROCESS_EXCEPTION
    record = LogRecord(
        timestamp=at_ns,
        context=set_span_in_context(span),
        event_name=name,
        severity_number=SeverityNumber.ERROR if severe else SeverityNumber.WARN,
        attributes=attributes,
    )
    get_logger(semconv.SCOPE, schema_url=semconv.SCHEMA_URL).emit(record)
    return True
