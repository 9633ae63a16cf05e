"""Our spans and measurements at less cost, with the SDK's own parts, where that is proven equal.

The SDK cleans every attribute, hashes every set of them and asks its own samplers at each call.
Our attributes are clean and our series few, so most of that gives the same answer each time.
Nothing is shortened unless every part involved is the SDK's own, by exact type and unpatched, and
a trial run came out equal. Otherwise each function here says so, and the public API is used.
`OTEL_QUEUE_SHORTCUTS=off` turns all of it off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Link, Span, SpanKind, Tracer

from otel_queue_plugins.sdk.shortcuts import adding, recording, selftest, starting

__all__ = ["BeginSpan", "Record", "bind", "note", "put", "spans"]

Value = str | int | float | bool
About = Callable[[], tuple[dict[str, Value], Sequence[Link]]]
BeginSpan = Callable[[str, Context, SpanKind, About, int], Span]
Record = Callable[[float, Mapping[str, Value], Context], None]

# The class of spans that `put` and `note` need not hand over, once there are any.
_proven: set[type] = set()


def spans(tracer: Tracer) -> BeginSpan | None:
    """`tracer.start_span` at less cost, None where that cannot be had.

    Attributes and links are what a function returns that is only called where somebody sees them.
    The attributes must be a fresh dict of `Value`s with non-empty names.
    """
    real = _behind(tracer, "ProxyTracer", "_tracer")
    if _is_off() or not _is_of_sdk(real) or not selftest.spans_are_equal():
        return None
    begin_span = starting.direct(real)
    if begin_span is not None:
        _proven.add(starting.span_class())
    return begin_span


def put(span: Span, attributes: dict[str, Value]) -> None:
    """`span.set_attributes(attributes)` at less cost, where that can be had."""
    if type(span) not in _proven or not adding.put(span, attributes):
        span.set_attributes(attributes)


def note(span: Span, event: str, at_ns: int) -> None:
    """`span.add_event(event, None, at_ns)` at less cost, where that can be had."""
    if type(span) not in _proven or not adding.note(span, event, at_ns):
        span.add_event(event, None, at_ns)


def bind(histogram: Histogram) -> Record | None:
    """`histogram.record` at less cost, None where that cannot be had.

    Attributes are dicts that live long, one per series, and are not changed after their first use.
    """
    real = _behind(histogram, "_ProxyHistogram", "_real_instrument")
    if _is_off() or not _is_of_sdk(real) or not selftest.measurements_are_equal():
        return None
    return recording.direct(real)


def _is_off() -> bool:
    return os.environ.get("OTEL_QUEUE_SHORTCUTS", "").strip().lower() in {"off", "false", "0"}


def _behind(given: Any, proxy: str, name: str) -> Any:
    """What the API's proxy `given` stands for; `given` itself if it is none."""
    is_proxy = type(given).__name__ == proxy and _is_from(given, "opentelemetry.")
    return getattr(given, name, None) if is_proxy else given


def _is_of_sdk(given: object) -> bool:
    return _is_from(given, "opentelemetry.sdk.")


def _is_from(given: object, package: str) -> bool:
    return type(given).__module__.startswith(package)
