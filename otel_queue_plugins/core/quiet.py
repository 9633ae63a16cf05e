"""Keep instrumented broker clients from tracing what a worker does between tasks."""

from __future__ import annotations

from contextvars import Token

from opentelemetry import context
from opentelemetry.context import Context


def hush() -> Token[Context]:
    """Suppress instrumentation in this thread, until `context.detach` gets the token back.

    Deliveries are not concerned: they run in contexts of their own.
    """
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
    quiet = context.set_value(key, True)  # noqa: FBT003 - the value instrumentations look for
    return context.attach(quiet)
