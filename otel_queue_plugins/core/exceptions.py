"""The type, message and stack trace of an exception, bounded, and how they are recorded."""

from __future__ import annotations

import re
import traceback
from typing import Final

from opentelemetry.trace import Span, set_span_in_context

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.bounds import bounded, valid_text
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.policy.redaction import DEFAULT, MARGIN, Redaction

MAX_MESSAGE: Final = 1024
MAX_STACKTRACE: Final = 16_384


def type_name(error: BaseException) -> str:
    """The fully qualified class name; builtins without their module."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return bounded(kind.__qualname__)
    return bounded(f"{kind.__module__}.{kind.__qualname__}")


def message(error: BaseException, redaction: Redaction | None = None) -> str:
    """`str(error)`, redacted, at most 1,024 characters; the name of its type if `str` raises.

    Without a `redaction` it is for whoever redacts it: not redacted, with a margin in length.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the failure it belongs to
        return f"<{type_name(error)} that cannot be printed>"
    if redaction is None:
        return valid_text(text, MAX_MESSAGE + MARGIN)
    return redaction.head(text, MAX_MESSAGE)


def stacktrace(
    error: BaseException, formatted: str | None = None, redaction: Redaction = DEFAULT
) -> str:
    """The formatted traceback without the frames of this package: at most the last 16 KiB.

    It is redacted. `formatted` is its text where the framework has formatted it already.
    """
    text = formatted or _format(error)
    if _PACKAGE in text:
        text = _FRAME_OF_OURS.sub("", text)
    start = "" if len(text) <= MAX_STACKTRACE else "...\n"
    return start + redaction.tail(text, MAX_STACKTRACE)


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # noqa: BLE001 - see `message`
        return f"{type_name(error)}: {message(error)}"


def record(
    span: Span, log_name: str, attributes: dict[str, str], options: Options, at_ns: int
) -> None:
    """Record an exception as a span event, a log record or both, as `exception_signal` says.

    It is a span event if this version of the API has no logs.
    """
    signal, attributes = options.exception_signal, options.on_span(attributes)
    is_logged = bool(signal) and _log(span, log_name, attributes, at_ns)
    if signal != "logs" or not is_logged:
        span.add_event(semconv.EVENT_EXCEPTION, attributes, at_ns)


def _log(span: Span, name: str, attributes: dict[str, str], at_ns: int) -> bool:
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


# As file names are written in tracebacks. The apps of the demo count as user code.
_PACKAGE: Final = _format.__code__.co_filename.rpartition("core")[0]
# An exception group puts the same prefix (`  |   `) before all lines of a frame.
_FRAME_OF_OURS: Final = re.compile(
    rf'^([ |]*)File "{re.escape(_PACKAGE)}(?!cli/)[^"\n]*", line .*\n?'
    r"(?:\1  .*\n?)*",
    re.MULTILINE,
)
