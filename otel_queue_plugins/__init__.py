"""OpenTelemetry traces and metrics for Celery and Dramatiq.

Import `otel_queue_plugins.celery` or `otel_queue_plugins.dramatiq` for the framework you use; this
package imports neither a framework nor the OpenTelemetry SDK.

`ensure_providers()` sets up the providers that `OTEL_*` asks for, now instead of at the first span,
measurement or log record. `flush(timeout=None)` exports what this process has recorded.

`QueueTracer` traces a queue that is neither; `trace_task` and `trace_operation` make spans of
your own.

`trace_url(trace_id)` and `trace_url_of_task(id, app_or_broker)` are links to traces in a backend.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_queue_plugins.any_queue.own_spans import trace_operation, trace_task
    from otel_queue_plugins.any_queue.tracer import QueueTracer
    from otel_queue_plugins.sdk import ensure_providers, flush
    from otel_queue_plugins.trace_links import trace_url, trace_url_of_task

__all__ = [
    "QueueTracer",
    "ensure_providers",
    "flush",
    "trace_operation",
    "trace_task",
    "trace_url",
    "trace_url_of_task",
]

if os.environ.get("OTEL_PROPAGATORS"):
    # Before any import of `opentelemetry.propagate`, which raises on an unknown name.
    from otel_queue_plugins.sdk.config import propagators

    propagators.guard(os.environ)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "QueueTracer":
        from otel_queue_plugins.any_queue import tracer

        return tracer.QueueTracer
    if name in ("trace_operation", "trace_task"):
        from otel_queue_plugins.any_queue import own_spans

        return getattr(own_spans, name)
    if name.startswith("trace_"):
        from otel_queue_plugins import trace_links

        return getattr(trace_links, name)
    from otel_queue_plugins import sdk

    return getattr(sdk, name)
