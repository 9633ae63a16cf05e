"""Keep instrumented broker clients from tracing what a worker does between tasks."""

from __future__ import annotations

from contextvars import Token
from functools import cache
from typing import Final

from opentelemetry import context
from opentelemetry.context import Context

LEGACY_KEY: Final = "suppress_instrumentation"
"""The context key from before the API had one of its own; many instrumentations read it still."""

OWN_KEY: Final = "otel_queue_suppressed"
"""Marks our suppression: under that of an exporter, log records must not be recorded either."""


def suppress_instrumentation() -> Token[Context]:
    """Suppress instrumentation in this thread, until `context.detach` gets the token.

    The current span stays current. Deliveries have contexts of their own and are not affected.
    """
    current = context.get_current()
    return context.attach(_suppressed(current) if current else _only_suppressed())


def suppress_in_empty_context() -> Token[Context]:
    """Attach an empty context with suppression: for what a thread does between deliveries."""
    return context.attach(_only_suppressed())


def allow_instrumentation() -> Token[Context]:
    """Undo `suppress_instrumentation` around user code, until `context.detach` gets the token."""
    current, keys = context.get_current(), _keys()
    return context.attach(Context({key: current[key] for key in current if key not in keys}))


def has_nothing_to_propagate(current: Context) -> bool:
    """Whether `current` is empty, or has our suppression in it and nothing else."""
    return not current or current is _only_suppressed()


@cache
def _keys() -> dict[str, bool]:
    """The keys that instrumentations read, and our own."""
    api_key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", LEGACY_KEY)
    return {LEGACY_KEY: True, api_key: True, OWN_KEY: True}


def _suppressed(current: Context) -> Context:
    return Context(current, **_keys())


@cache
def _only_suppressed() -> Context:
    """The one context that has our suppression in it and nothing else."""
    return _suppressed(Context())
