"""What is added to a span of the SDK once it has started, less what only repeats itself."""

from __future__ import annotations

# ruff: noqa: SLF001 - the parts of a span are private
from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes

from otel_queue_plugins.sdk.fastpath.span_start import CLEAN, DEFAULT_COUNT

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.fastpath import Value


def put(span: Any, attributes: dict[str, Value]) -> bool:
    """Set clean attributes on a span of the SDK.

    False, and nothing done, where the SDK would do more than add what is new.
    """
    bounded = span._attributes
    if bounded.max_value_len is not None or not CLEAN.issuperset(map(type, attributes.values())):
        return False
    with span._lock:
        if span._end_time is not None:
            return False
        with bounded._lock:
            known = bounded._dict
            if bounded.maxlen is not None and len(known) + len(attributes) > bounded.maxlen:
                return False
            if not known.keys().isdisjoint(attributes):
                return False
            known.update(attributes)
    return True


def note(span: Any, event: str, at_ns: int) -> bool:
    """Add an event without attributes to a span of the SDK.

    False, and nothing done, where the SDK would do more.
    """
    noted = _event_class()(event, _NO_ATTRIBUTES, at_ns)
    with span._lock:
        if span._end_time is not None:
            return False
        span._events.append(noted)
    return True


@cache
def _event_class() -> Any:
    from opentelemetry.sdk.trace import Event

    return Event


# Immutable, and so one for all events.
_NO_ATTRIBUTES = BoundedAttributes(DEFAULT_COUNT)
