"""Put the URL of the trace on log records of tasks that fail."""

from __future__ import annotations

import logging
import os
import platform
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.core.patching import apply
from otel_queue_plugins.sdk import patches
from otel_queue_plugins.sdk.config import trace_urls
from otel_queue_plugins.sdk.logs.correlation import task_in_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LABEL: Final = "trace_url"


@cache
def enable_log_trace_url() -> None:
    """Put `trace_url` on every log record.

    It is the URL on those that a task in progress, or its framework, writes at WARNING or above;
    elsewhere, and where no URL is known, it is the empty string. A second call has no effect.
    """
    apply(patches.of_log_trace_url(_make_linked), platform.python_version())


def _make_linked(
    make: Callable[..., logging.LogRecord],
    _logger: logging.Logger,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> logging.LogRecord:
    """Around `Logger.makeRecord(...)`."""
    record = make(*args, **kwargs)
    # Dramatiq says at WARNING that the attempts are used up.
    url = _url() if record.levelno >= logging.WARNING else ""
    record.__dict__.setdefault(LABEL, url)
    return record


def _url() -> str:
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid or task_in_progress() is None:
        return ""
    trace_id = trace.format_trace_id(context.trace_id)
    span_id = trace.format_span_id(context.span_id)
    return trace_urls.url(os.environ, trace_id, span_id=span_id) or ""
