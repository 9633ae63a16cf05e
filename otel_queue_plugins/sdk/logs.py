"""Which trace and which task a log record belongs to."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class TaskLabel(NamedTuple):
    """The task that runs in the current context. Made once per task, so a plain tuple."""

    id: str
    name: str


current_task: ContextVar[TaskLabel | None] = ContextVar("otel_queue_current_task", default=None)


def enable_log_correlation() -> None:
    """Put `trace_id`, `span_id`, `task_id` and `task_name` on every log record.

    All four are there on every record, empty outside a span or a task, so that a format string
    may name them. A caller's `extra` of the same name wins. Works for every logger, whatever
    its handlers are and whoever replaces them. Doing it twice does nothing.
    """
    make = logging.Logger.makeRecord
    if not getattr(make, "_otel_queue", False):
        logging.Logger.makeRecord = _labelling(make)  # type: ignore[method-assign]


def _labelling(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Not a record factory: the keys of one collide with a caller's `extra`, which raises."""

    def make_record(self: logging.Logger, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(self, *args, **kwargs)
        for key, value in _labels().items():
            record.__dict__.setdefault(key, value)
        return record

    make_record._otel_queue = True  # type: ignore[attr-defined]
    return make_record


def _labels() -> dict[str, str]:
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    task = current_task.get()
    return {
        "trace_id": trace.format_trace_id(context.trace_id) if context.is_valid else "",
        "span_id": trace.format_span_id(context.span_id) if context.is_valid else "",
        "task_id": task.id if task else "",
        "task_name": task.name if task else "",
    }
