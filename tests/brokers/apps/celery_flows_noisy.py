"""The same tasks, with a tracer for the Redis client that behaves as the real one does."""

from __future__ import annotations

from typing import Any

import redis
import wrapt
from celery import Celery
from opentelemetry import context, trace
from opentelemetry.trace import SpanKind

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

SUPPRESS = "suppress_instrumentation"


def traced(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """A span for each command, unless the context says not to."""
    suppressed = any(key.startswith(SUPPRESS) and value for key, value in _context().items())
    if suppressed:
        return wrapped(*args, **kwargs)
    name = str(args[0]) if args else "PIPELINE"
    with trace.get_tracer("redis").start_as_current_span(name, kind=SpanKind.CLIENT):
        return wrapped(*args, **kwargs)


def _context() -> dict[str, Any]:
    return dict(context.get_current())


for owner, method in (
    (redis.Redis, "execute_command"),
    (redis.client.Pipeline, "execute"),
    (redis.client.Pipeline, "immediate_execute_command"),
    (redis.connection.Connection, "send_command"),
):
    wrapt.wrap_function_wrapper(owner, method, traced)

app = Celery("noisy")
app.conf.update(celery_settings(task_ignore_result=False))
instrument(app)


@app.task(name="add")
def add(x: int = 1, y: int = 1) -> int:
    """Succeeds."""
    return x + y
