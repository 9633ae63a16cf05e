"""The SDK's span, put together as `Tracer.start_span` does, less what only repeats itself."""

from __future__ import annotations

# ruff: noqa: SLF001 - a span's parts are private
import threading
from gc import get_referents
from time import time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    get_current_span,
)

from otel_queue_plugins.sdk.shortcuts.deciding import decider
from otel_queue_plugins.sdk.shortcuts.untouched import are_own

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind

    from otel_queue_plugins.sdk.shortcuts import StartSpan, Value

_CLEAN = frozenset({str, int, float, bool})
_FLAGS = tuple(TraceFlags(bits) for bits in range(4))
_DEFAULT_COUNT = 128
_FIELDS = frozenset(
    "_attributes _context _end_time _events _instrumentation_info _instrumentation_scope _kind"
    " _limits _links _lock _name _parent _record_end_metrics _record_exception _resource _sampler"
    " _set_status_on_exception _span_processor _start_time _status _trace_config".split()
)
# The class of the spans that `direct` makes, once it has made any.
_ours: set[type] = set()


def put(span: Span, attributes: dict[str, Value]) -> None:
    """`span.set_attributes(attributes)`; the values are clean and the names not empty."""
    if type(span) not in _ours or not _put_clean(span, attributes):
        span.set_attributes(attributes)


def _put_clean(span: Any, attributes: dict[str, Value]) -> bool:
    """False, and nothing done, where the SDK would do more than to add what is new."""
    bounded = span._attributes
    if bounded.max_value_len is not None or not _CLEAN.issuperset(map(type, attributes.values())):
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


def direct(tracer: Any) -> StartSpan | None:
    """`tracer.start_span` for clean attributes; None if the tracer is not the SDK's as we know it.

    That is: exact types, nothing patched, the default limits of attributes, a span of the fields
    that `_new_span` fills.
    """
    from opentelemetry.sdk import trace as sdk

    if type(tracer) is not sdk.Tracer or "start_span" in vars(tracer):
        return None
    if not are_own(sdk.Tracer, "start_span", "_is_enabled"):
        return None
    if not are_own(sdk._Span, "__init__", "start", "_new_events", "_new_links", "set_attributes"):
        return None
    limits = tracer._span_limits
    if type(limits) is not sdk.SpanLimits or limits.max_span_attributes != _DEFAULT_COUNT:
        return None
    if limits.max_span_attribute_length is not None or limits.max_attribute_length is not None:
        return None
    example = sdk._Span("", INVALID_SPAN_CONTEXT, limits=limits)
    if vars(example).keys() != _FIELDS or type(example._attributes._dict) is not dict:
        return None
    _ours.add(sdk._Span)
    return _Direct(tracer, example).start_span


class _Direct:
    """Starts spans of one tracer."""

    __slots__ = ("_decide", "_info", "_limits", "_no_attributes", "_sampler", "_scope", "_status",
                 "_tracer", "_types")

    def __init__(self, tracer: Any, example: Any) -> None:
        from opentelemetry.attributes import BoundedAttributes
        from opentelemetry.sdk.util import BoundedList

        self._tracer = tracer
        self._sampler = tracer.sampler
        self._decide = decider(tracer.sampler)
        self._info = tracer.instrumentation_info
        self._scope = tracer._instrumentation_scope
        self._limits = limits = tracer._span_limits
        self._status = example._status
        self._types = (type(example), BoundedAttributes, BoundedList)
        # Immutable, so one does for all links that have none.
        self._no_attributes = BoundedAttributes(limits.max_link_attributes)

    def start_span(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: dict[str, Value],
        links: Sequence[Link],
        start_time: int,
    ) -> Span:
        """What `Tracer.start_span` does, in its order."""
        tracer = self._tracer
        parent: SpanContext | None = get_current_span(context).get_span_context()
        if type(parent) is not SpanContext or not tracer._is_enabled():
            started: Span = tracer.start_span(name, context, kind, attributes, links, start_time)
            return started
        ids = tracer.id_generator
        if parent.is_valid:
            trace_id = parent.trace_id
        else:
            parent, trace_id = None, ids.generate_trace_id()
        if self._decide and tracer.sampler is self._sampler:
            decision = self._decide(parent, trace_id)
            given: Any = attributes
            state = parent.trace_state if parent else None
        else:
            links = links or ()
            result = tracer.sampler.should_sample(context, trace_id, name, kind, attributes, links)
            decision, given, state = result.decision, result.attributes, result.trace_state
        is_random = parent.trace_flags.random_trace_id if parent else ids.is_trace_id_random()
        flags = _FLAGS[decision.is_sampled() + 2 * bool(is_random)]
        own = SpanContext(trace_id, ids.generate_span_id(), False, flags, state)
        ended = tracer._tracer_metrics.start_span(parent, decision)
        if not decision.is_recording():
            return NonRecordingSpan(own)
        span = self._new_span(name, own, parent, kind, ended, start_time)
        span._attributes = self._attributes(given, attributes)
        span._links = self._links(links) if links else self._types[2](self._limits.max_links)
        tracer.span_processor.on_start(span, parent_context=context)
        return span  # type: ignore
