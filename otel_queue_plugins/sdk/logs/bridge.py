"""Hand log records of Python's `logging` to the global logger provider."""

from __future__ import annotations

import logging
import platform
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, context
from opentelemetry._logs import SeverityNumber

from otel_queue_plugins.core import exceptions, semconv
from otel_queue_plugins.core.api import suppression
from otel_queue_plugins.core.patching import apply
from otel_queue_plugins.sdk import patches
from otel_queue_plugins.sdk.logs import privacy
from otel_queue_plugins.sdk.logs.correlation import (
    LABELS,
    correlated_in_progress,
    task_in_progress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.util.types import AnyValue

_ID_LABEL = LABELS[-1]
_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", *LABELS[:-1]})
_SEVERITY_TEXT = {"WARNING": "WARN", "CRITICAL": "FATAL"}
# https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
    (logging.DEBUG, SeverityNumber.DEBUG),
)


@cache
def export_logs(are_taken: Callable[[], bool]) -> None:
    """Export every record that a logger hands to its handlers. A second call has no effect.

    `are_taken` is called for each record: whether there is a logger provider to take it.
    """
    # Not a handler: Celery empties the root logger's list of handlers, and so does `dictConfig`.
    table = patches.of_log_export(partial(_call_handlers, are_taken))
    apply(table, platform.python_version())


def _call_handlers(
    are_taken: Callable[[], bool],
    call: Callable[..., None],
    _logger: logging.Logger,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    call(*args, **kwargs)
    try:
        _emit(args[0] if args else kwargs["record"], are_taken)
    except Exception:  # noqa: BLE001 - a log call never fails
        return


def _emit(record: logging.LogRecord, are_taken: Callable[[], bool]) -> None:
    if _is_of_exporter(record) or _is_bridged() or not are_taken():
        return
    error = record.exc_info[1] if record.exc_info else None
    _logs.get_logger(record.name).emit(
        timestamp=int(record.created * 1e9),
        context=context.get_current(),
        severity_number=_severity(record.levelno),
        severity_text=_SEVERITY_TEXT.get(record.levelname, record.levelname),
        body=privacy.in_use.body(record),
        attributes={**_attributes(record), **_exception(error)},
    )


def _is_of_exporter(record: logging.LogRecord) -> bool:
    """Whether the record is about an export: to export it would make more of them."""
    if record.name.startswith("opentelemetry"):
        return True
    suppressed = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", suppression.LEGACY_KEY)
    return bool(context.get_value(suppressed)) and not context.get_value(suppression.OWN_KEY)


def _is_bridged() -> bool:
    """Whether OpenTelemetry's own logging handler exports the records already."""
    return any(type(each).__module__.startswith("opentelemetry") for each in logging.root.handlers)


def _severity(level: int) -> SeverityNumber:
    return next(
        (severity for least, severity in _SEVERITIES if level >= least), SeverityNumber.TRACE
    )


def _attributes(record: logging.LogRecord) -> dict[str, AnyValue]:
    task, correlated = task_in_progress(), correlated_in_progress()
    extra: dict[str, AnyValue] = {
        key: privacy.in_use.text(value) if isinstance(value, str) else value
        for key, value in vars(record).items()
        if key not in _STANDARD and isinstance(value, (str, bool, int, float))
    }
    if extra.get(_ID_LABEL) == correlated.get(semconv.CORRELATION_ID, ""):  # ours, not the caller's
        del extra[_ID_LABEL]
    code: dict[str, AnyValue] = {
        "code.file.path": privacy.in_use.text(record.pathname),
        semconv.CODE_FUNCTION_NAME: record.funcName,
        "code.line.number": record.lineno,
    }
    if task is None:
        return {**extra, **code}
    of_task: dict[str, AnyValue] = {
        semconv.MESSAGING_MESSAGE_ID: task[0],
        semconv.TASK_NAME: task[1],
    }
    return {**extra, **code, **of_task, **correlated}


def _exception(error: BaseException | None) -> dict[str, AnyValue]:
    if error is None:
        return {}
    return {
        semconv.EXCEPTION_TYPE: type(error).__qualname__,
        semconv.EXCEPTION_MESSAGE: exceptions.message(error, privacy.in_use.redaction),
        semconv.EXCEPTION_STACKTRACE: exceptions.stacktrace(
            error, redaction=privacy.in_use.redaction
        ),
    }
