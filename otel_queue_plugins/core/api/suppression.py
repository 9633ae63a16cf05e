"""Keep instrumented broker clients from tracing what a worker does between tasks."""

from __future__ import annotations

from contextvars import Token
from functools import cache
from typing import Final

from opentelemetry import context
from opentelemetry.context import Context

LEGACY_KEY: Final = "suppress_instrumentation"
"""What instrumentations looked for before the API had a key for it; many still do."""

OWN_KEY: Final = "otel_queue_hushed"
"""Tells this suppression from that of an exporter, in which nothing must be recorded at all."""


def suppress_instrumentation() -> Token[Context]:
    """Suppress instrumentation in this thread, until `context.detach` gets the token back.

    What is current stays current. Deliveries are not concerned: they run in contexts of their own.
    """
    here = context.get_current()
    return context.attach(_suppressed(here) if here else _only_suppressed())


def suppress_in_empty_context() -> Token[Context]:
    """Attach an empty context with suppression: for what a thread does between deliveries."""
    return context.attach(_only_suppressed())


def allow_instrumentation() -> Token[Context]:
    """Undo `suppress_instrumentation` around user code, until `context.detach` gets the token."""
    here, keys = context.get_current(), _keys()
    return context.attach(Context({key: here[key] for key in here if key not in keys}))


def has_nothing_to_propagate(here: Context) -> bool:
    """Whether a message has nothing to take along of `here`: it is empty, or quiet and no more."""
    return not here or here is _only_suppressed()


@cache
def _keys() -> dict[str, bool]:
    """What instrumentations look for, and what says that it is ours."""
    private = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", LEGACY_KEY)
    return {LEGACY_KEY: True, private: True, OWN_KEY: True}


def _suppressed(here: Context) -> Context:
    return Context(here, **_keys())


@cache
def _only_suppressed() -> Context:
    """The one context that is quiet and no more."""
    return _suppressed(Context())
