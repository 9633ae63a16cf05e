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

    Deliveries are not concerned: they run in contexts of their own.
    """
    here = context.get_current()
    return context.attach(_quieted(here) if here else _nothing_else())


def speak() -> Token[Context]:
    """Take back what `hush` did, until `context.detach` gets the token back: for code of users."""
    here, keys = context.get_current(), (*_keys(), OURS)
    return context.attach(Context({key: here[key] for key in here if key not in keys}))


def is_all(here: Context) -> bool:
    """Whether a message has nothing to take along of `here`: it is empty, or quiet and no more."""
    return not here or here is _nothing_else()


def _keys() -> tuple[str, str]:
    return PLAIN_KEY, getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", PLAIN_KEY)


def _quieted(here: Context) -> Context:
    for key in _keys():
        here = context.set_value(key, True, here)  # noqa: FBT003 - what instrumentations look for
    return context.set_value(OURS, True, here)  # noqa: FBT003 - as those above


@cache
def _nothing_else() -> Context:
    """The one context that is quiet and no more."""
    return _quieted(Context())
