"""Get the span of a context, and make a context with a span, at less cost than the API.

With a version of the API that stores the span in another way, these are the API's own functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    get_current_span,
    set_span_in_context,
)

_set: Final = dict.__setitem__


def _key() -> str | None:
    """The key of the span in a context; None unless a context is a dict with one such key."""
    span = NonRecordingSpan(INVALID_SPAN.get_span_context())
    try:
        empty: Any = Context()
        made: Any = set_span_in_context(span, empty)
        ((key, value),) = made.items()
        _set(empty, key, value)
        is_usable = value is span and get_current_span(empty) is span and Context(made) == made
    except Exception:  # noqa: BLE001 - a later version of the API
        return None
    return key if is_usable and isinstance(key, str) else None


_KEY: Final[Any] = _key()


def _span_in(context: Context) -> Span:
    span: Any = context.get(_KEY)
    return span if _is_span(span.__class__) else INVALID_SPAN


def _with_span(span: Span, context: Context) -> Context:
    made = Context(context)
    _set(made, _KEY, span)  # a Context refuses `made[_KEY] = span`
    return made


span_in: Callable[[Context], Span] = get_current_span if _KEY is None else _span_in
"""Returns what `get_current_span(context)` returns."""

with_span: Callable[[Span, Context], Context] = set_span_in_context if _KEY is None else _with_span
"""Returns what `set_span_in_context(span, context)` returns."""


@lru_cache
def _is_span(kind: type) -> bool:
    """Cached, because `isinstance` of an abstract class costs more than all the rest."""
    return issubclass(kind, Span)
