"""Set attributes and add events on a span of the SDK that has started."""

from __future__ import annotations

# ruff: noqa: SLF001 - the parts of a span are private
from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes

from otel_queue_plugins.sdk.fastpath.span_start import CLEAN, DEFAULT_COUNT

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.fastpath import Value


def set_attributes(span: Any, attributes: dict[str, Value]) -> bool:
    """Set clean, new attributes on a span of the SDK.

    Returns False, and changes nothing, where the SDK would do more than add them.
    """
    bounded = span._attributes
    if bounded.max_value_len is not None or not CLEAN.issuperset(map(type, attributes.values())):
        return False
    with span._lock:
        if span._end_time is not None:
            return False
        with bounded._lock:
            present = bounded._dict
            if bounded.maxlen is not None and len(present) + len(attributes) > bounded.maxlen:
                return False
            if not present.keys().isdisjoint(attributes):
                return False
            present.update(attributes)
    return True


def add_event(span: Any, event: str, at_ns: int) -> bool:
    """Add an event without attributes to a span of the SDK.

    Returns False, and changes nothing, for an ended span.
    """
    added = _event_class()(event, _NO_ATTRIBUTES, at_ns)
    with span._lock:
        if span._end_time is not None:
            return False
        span._events.append(added)
    return True


@cache
def _event_class() -> Any:
    from opentelemetry.sdk.trace import Event

    return Event


# Shared by all events: nobody can change it.
_NO_ATTRIBUTES = BoundedAttributes(DEFAULT_COUNT)
