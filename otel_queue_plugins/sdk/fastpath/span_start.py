"""Start a span of the SDK as `Tracer.start_span` does, without the steps that only repeat."""

from __future__ import annotations

# ruff: noqa: SLF001 - the parts of a span are private
import threading
from collections import deque
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
)

from otel_queue_plugins.core.api.context import span_in
from otel_queue_plugins.sdk.fastpath.gate import UnexpectedSdkError
from otel_queue_plugins.sdk.fastpath.sampling import decider
from otel_queue_plugins.sdk.fastpath.unpatched import check_unpatched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind

    from otel_queue_plugins.sdk.fastpath import About, BeginSpan, Value

CLEAN = frozenset({str, int, float, bool})
_FLAGS = tuple(TraceFlags(bits) for bits in range(4))
_RANDOM = int(TraceFlags.RANDOM_TRACE_ID)
DEFAULT_COUNT = 128
# Methods of the SDK that the fast path does not call.
_REPLACED = ("__init__", "start", "set_attributes", "add_event", "_new_events", "_new_links")
# The fields that `_new_span` sets. Spans with other fields are left to the SDK.
_FIELDS = {
    *("_name", "_context", "_parent", "_kind", "_attributes", "_events", "_links", "_resource"),
    *("_instrumentation_info", "_instrumentation_scope", "_start_time", "_end_time", "_status"),
    *("_sampler", "_span_processor", "_limits", "_lock", "_record_end_metrics", "_trace_config"),
    *("_record_exception", "_set_status_on_exception"),
}
_FIELDS_OF_LIST = {"dropped", "_dq", "_lock"}
# Versions up to 1.44 have one field more, and those up to 1.43 a reentrant lock.
_MAY_BE_EXTENDED = "_extended_attributes" in vars(BoundedAttributes())
_FIELDS_OF_ATTRIBUTES = {
    *("_dict", "maxlen", "dropped", "max_value_len", "_lock", "_immutable"),
    *(("_extended_attributes",) if _MAY_BE_EXTENDED else ()),
}
_HAS_PLAIN_LOCK = type(BoundedAttributes()._lock) is type(threading.Lock())
_new_lock: Callable[[], Any] = threading.Lock if _HAS_PLAIN_LOCK else threading.RLock


def fast_start(tracer: Any) -> BeginSpan:
    """Return a faster `tracer.start_span` for clean attributes.

    Raises UnexpectedSdkError unless all of these hold: the classes have the exact types, nothing is
    patched, the limits of attributes are the defaults, and spans have the fields set here.
    """
    from opentelemetry.sdk import trace as sdk

    if type(tracer) is not sdk.Tracer or "start_span" in vars(tracer):
        raise UnexpectedSdkError(
            f"the tracer is a {type(tracer).__qualname__} with a start_span of its own"
        )
    check_unpatched(sdk.Tracer, "start_span", "_is_enabled")
    check_unpatched(sdk._Span, *_REPLACED)
    check_unpatched(sdk.Event, "__init__")
    limits = tracer._span_limits
    if type(limits) is not sdk.SpanLimits or not _are_default(limits):
        raise UnexpectedSdkError("limits of attributes are set, which the SDK has to apply")
    example: Any = sdk._Span("", INVALID_SPAN_CONTEXT, resource=tracer.resource, limits=limits)
    if not _has_expected_fields(example):
        raise UnexpectedSdkError("spans of this SDK have other fields")
    return _SpanStarter(tracer, example).begin_span


def _has_expected_fields(span: Any) -> bool:
    attributes, events = span._attributes, span._events
    check_unpatched(type(attributes), "__init__")
    check_unpatched(type(events), "__init__")
    return (
        vars(span).keys() == _FIELDS
        and vars(attributes).keys() == _FIELDS_OF_ATTRIBUTES
        and type(attributes._dict) is dict
        and vars(events).keys() == _FIELDS_OF_LIST
        and type(events._dq) is deque
        and events._dq.maxlen == span._limits.max_events
    )


def span_class() -> type:
    """The class of recording spans in the SDK."""
    from opentelemetry.sdk.trace import _Span

    return _Span


def _are_default(limits: Any) -> bool:
    counts = {limits.max_span_attributes, limits.max_link_attributes}
    lengths = {limits.max_span_attribute_length, limits.max_attribute_length}
    return counts == {DEFAULT_COUNT} and lengths == {None}


class _SpanStarter:
    """Starts the spans of one tracer."""

    def __init__(self, tracer: Any, example: Any) -> None:
        from opentelemetry.sdk.trace.sampling import Decision

        self._tracer = tracer
        self._decide = decider()
        self._drop, self._sample = Decision.DROP, Decision.RECORD_AND_SAMPLE
        self._example = example
        self._span_class = type(example)
        self._list_class = type(example._events)
        # Shared by all links without attributes: nobody can change it.
        self._no_attributes = BoundedAttributes(DEFAULT_COUNT)

    def begin_span(
        self, name: str, context: Context, kind: SpanKind, about: About, start_time: int
    ) -> Span:
        """Do what `Tracer.start_span` does, in its order; the span takes over the attributes."""
        tracer = self._tracer
        parent: SpanContext | None = span_in(context).get_span_context()
        if type(parent) is not SpanContext or not tracer._is_enabled():
            return self._start_by_api(name, context, kind, about, start_time)
        ids: Any = tracer.id_generator
        attributes: Any = None
        links: Sequence[Link] = ()
        state: Any
        trace_id, _, _, flags, state, is_valid = parent
        if not is_valid:
            parent, state, trace_id = None, None, ids.generate_trace_id()
        decision = self._decide(tracer.sampler, parent, trace_id)
        if decision is None:
            attributes, links = about()
            result = tracer.sampler.should_sample(context, trace_id, name, kind, attributes, links)
            decision, attributes, state = result.decision, result.attributes, result.trace_state
        elif decision is not self._drop:
            attributes, links = about()
        is_random = ids.is_trace_id_random() if parent is None else flags & _RANDOM
        flags = _FLAGS[(decision is self._sample) + 2 * bool(is_random)]
        own = SpanContext(trace_id, ids.generate_span_id(), False, flags, state)  # noqa: FBT003 - remote
        ended = tracer._tracer_metrics.start_span(parent, decision)
        if decision is self._drop:
            return NonRecordingSpan(own)
        span = self._new_span(name, own, parent, kind, attributes, links, start_time, ended)
        span._span_processor.on_start(span, parent_context=context)
        started: Span = span
        return started

    def _start_by_api(
        self, name: str, context: Context, kind: SpanKind, about: About, start_time: int
    ) -> Span:
        attributes, links = about()
        started: Span = self._tracer.start_span(name, context, kind, attributes, links, start_time)
        return started

    def _new_span(
        self,
        name: str,
        own: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Mapping[str, Value],
        links: Sequence[Link],
        start_time: int | None,
        ended: object,
    ) -> Any:
        """Make a started span: each field as `Span.__init__` and `Span.start` set it."""
        tracer, example = self._tracer, self._example
        span: Any = object.__new__(self._span_class)
        span._name = name
        span._context = own
        span._kind = kind
        span._instrumentation_info = tracer.instrumentation_info
        span._instrumentation_scope = tracer._instrumentation_scope
        span._parent = parent
        span._start_time = time_ns() if start_time is None else start_time
        span._end_time = None
        span._attributes = _bounded(attributes)
        span._limits = limits = example._limits
        span._events = self._list(limits.max_events, ())
        span._links = self._links(span, links)
        span._resource = tracer.resource
        span._status = example._status
        span._sampler = tracer.sampler
        span._trace_config = None
        span._record_exception = True
        span._set_status_on_exception = True
        span._span_processor = tracer.span_processor
        span._lock = threading.Lock()
        span._record_end_metrics = ended
        return span

    def _links(self, span: Any, links: Sequence[Link]) -> Any:
        most = span._limits.max_links
        if most is not None and len(links) > most:
            return span._new_links(links)
        for link in links:
            if type(link) is not Link or link.attributes or not link.context.is_valid:
                return span._new_links(links)
        for link in links:
            link._attributes = self._no_attributes
        return self._list(most, links)

    def _list(self, most: int | None, items: Sequence[Any]) -> Any:
        """Make a `BoundedList` for `most` items; there must not be more `items` than that."""
        made = object.__new__(self._list_class)
        made.dropped = 0
        made._dq = deque(items, most)
        made._lock = threading.Lock()
        return made


def _bounded(attributes: Mapping[str, Value]) -> Any:
    """Make `BoundedAttributes`; a sampler may have added attributes that have to be cleaned."""
    if type(attributes) is not dict or len(attributes) > DEFAULT_COUNT:
        return BoundedAttributes(DEFAULT_COUNT, attributes, immutable=False)
    if not CLEAN.issuperset(map(type, attributes.values())):
        return BoundedAttributes(DEFAULT_COUNT, attributes, immutable=False)
    bounded: Any = object.__new__(BoundedAttributes)
    bounded._dict = attributes
    bounded.maxlen = DEFAULT_COUNT
    bounded.dropped = 0
    bounded.max_value_len = None
    bounded._lock = _new_lock()
    bounded._immutable = False
    if _MAY_BE_EXTENDED:
        bounded._extended_attributes = False
    return bounded
