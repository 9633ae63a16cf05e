"""Keep instrumented broker clients from tracing what a worker does between tasks."""

from __future__ import annotations

from contextvars import Token
from functools import cache
from typing import Final

from opentelemetry import context
from opentelemetry.context import Context

PLAIN_KEY: Final = "suppress_instrumentation"
"""What instrumentations looked for before the API had a key for it; many still do."""

OURS: Final = "otel_queue_hushed"
"""Tells this suppression from that of an exporter, in which nothing must be recorded at all."""


def hush() -> Token[Context]:
    """Suppress instrumentation in this thread, until `context.detach` gets the token back.

    What is current stays current. Deliveries are not concerned: they run in contexts of their own.
    """
    here = context.get_current()
    return context.attach(_quieted(here) if here else _nothing_else())


def hush_in_empty_context() -> Token[Context]:
    """As `hush`, in an empty context: for what a thread does between deliveries."""
    return context.attach(_nothing_else())


def speak() -> Token[Context]:
    """Take back what `hush` did, until `context.detach` gets the token back: for code of users."""
    here, keys = context.get_current(), _keys()
    return context.attach(Context({key: here[key] for key in here if key not in keys}))


def is_all(here: Context) -> bool:
    """Whether a message has nothing to take along of `here`: it is empty, or quiet and no more."""
    return not here or here is _nothing_else()


@cache
def _keys() -> dict[str, bool]:
    """What instrumentations look for, and what says that it is ours."""
    private = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", PLAIN_KEY)
    return {PLAIN_KEY: True, private: True, OURS: True}


def _quieted(here: Context) -> Context:
    return Context(here, **_keys())


@cache
def _nothing_else() -> Context:
    """The one context that is quiet and no more."""
    return _quieted(Context())
