"""Which traces are shown."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.outcomes import ERRORS

_ERRORS: Final = {each.value for each in ERRORS}


def is_wanted(spans: Sequence[ReceivedSpan], parsed: Namespace) -> bool:
    """Whether a trace fits all filters of the command line."""
    if parsed.service and not any(fnmatchcase(each.service, parsed.service) for each in spans):
        return False
    if parsed.task and not any(_has_task(each, parsed.task) for each in spans):
        return False
    if parsed.errors and not any(has_failed(each) for each in spans):
        return False
    return not parsed.slower or any(_is_slow(each, parsed.slower) for each in spans)


def has_failed(span: ReceivedSpan) -> bool:
    """Whether what the span is about has failed for good."""
    return span.status == "error" or span.attributes.get(semconv.TASK_OUTCOME) in _ERRORS


def _has_task(span: ReceivedSpan, pattern: str) -> bool:
    return fnmatchcase(str(span.attributes.get(semconv.TASK_NAME, "")), pattern)


def _is_slow(span: ReceivedSpan, seconds: float) -> bool:
    is_task = span.attributes.get(semconv.MESSAGING_OPERATION_TYPE) == "process"
    return is_task and span.duration_s >= seconds
