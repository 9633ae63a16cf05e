"""Put trace, span and task on log records of Python's `logging`."""

from __future__ import annotations

import logging
import platform
from functools import cache
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.patching import apply
from otel_queue_plugins.sdk import patches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_queue_plugins.core.api.recorder import Value

LABELS = ("trace_id", "span_id", "task_id", "task_name", "correlation_id")


@cache
def enable_log_correlation() -> None:
    """Put `trace_id`, `span_id`, `task_id`, `task_name` and `correlation_id` on every log record.

    Outside a span or a task they are empty strings, so that any format string may name them. Values
    of `correlation` are added by the names of their attributes, where there are any. A caller's
    `extra` of the same name wins. Works for all loggers, whichever handlers they have. A second
    call has no effect.
    """
    # Not a record factory: its keys would collide with a caller's `extra`, which raises.
    apply(patches.of_log_correlation(_make_labelled), platform.python_version())


def _make_labelled(
    make: Callable[..., logging.LogRecord],
    _logger: logging.Logger,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> logging.LogRecord:
    """Around `Logger.makeRecord(...)`."""
    record = make(*args, **kwargs)
    for key, value in zip(LABELS, _labels(), strict=True):
        record.__dict__.setdefault(key, value)
    for key, found in correlated_in_progress().items():
        record.__dict__.setdefault(key, found)
    return record


def task_in_progress() -> tuple[str, str] | None:
    """The id and name of the task that the running code belongs to; None outside of tasks."""
    from otel_queue_plugins.core.operation import current_delivery

    operation = current_delivery.get()
    if operation is None:
        return None
    return operation.delivery.id, operation.delivery.route.task


def correlated_in_progress() -> dict[str, Value]:
    """The attributes of correlation of the task that the running code belongs to."""
    from otel_queue_plugins.core.operation import current_delivery

    operation = current_delivery.get()
    return {} if operation is None else operation.correlated or {}


def _labels() -> tuple[str, str, str, str, str]:
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    task_id, task_name = task_in_progress() or ("", "")
    correlation_id = str(correlated_in_progress().get(semconv.CORRELATION_ID, ""))
    if not context.is_valid:
        return "", "", task_id, task_name, correlation_id
    return (
        trace.format_trace_id(context.trace_id),
        trace.format_span_id(context.span_id),
        task_id,
        task_name,
        correlation_id,
    )
