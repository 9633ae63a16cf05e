"""Encode the SDK's spans as OTLP's message Span.

opentelemetry/proto/trace/v1/trace.proto in github.com/open-telemetry/opentelemetry-proto
"""

from __future__ import annotations

# ruff: noqa: SLF001 - the public properties of a span copy what they return
from collections.abc import Callable
from operator import attrgetter
from struct import Struct
from typing import Any

from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.span import DEFAULT_TRACE_STATE

from otel_queue_plugins.sdk.fastpath.encoding.attributes import AttributeEncoder
from otel_queue_plugins.sdk.fastpath.encoding.caching import Budget, Cache
from otel_queue_plugins.sdk.fastpath.encoding.values import UnknownError
from otel_queue_plugins.sdk.fastpath.encoding.wire import (
    DELIMITED,
    FIXED32,
    FIXED64,
    VARINT,
    delimited,
    field,
    fixed32,
    fixed64,
    tag,
    varint,
)

_MOST_NAMES = 256
_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200

# Tags of the fields, with the length of the content where it is fixed: trace id, span id, and the
# span id of the parent.
_IDS = Struct(">H16sHQ").pack
_IDS_AND_PARENT = Struct(">H16sHQHQ").pack
_TRACE_ID, _SPAN_ID, _PARENT_ID = 0x0A10, 0x1208, 0x2208
_TIMES = Struct("<BQBQ").pack
_START, _END = 0x39, 0x41
_ATTRIBUTES, _DROPPED_ATTRIBUTES = tag(9, DELIMITED), tag(10, VARINT)
_EVENTS, _DROPPED_EVENTS = tag(11, DELIMITED), tag(12, VARINT)
_LINKS, _DROPPED_LINKS = tag(13, DELIMITED), tag(14, VARINT)
_UNSET = field(15, b"")

_EVENT_TIME = tag(1, FIXED64)
_EVENT_ATTRIBUTES, _EVENT_DROPPED = tag(3, DELIMITED), tag(4, VARINT)
_LINK_ATTRIBUTES, _LINK_DROPPED = tag(4, DELIMITED), tag(5, VARINT)


def _kind_and_flags(kind: SpanKind, flags: int) -> bytes:
    return tag(6, VARINT) + varint(kind.value + 1) + tag(16, FIXED32) + fixed32(flags)


_KINDS = [_kind_and_flags(kind, _HAS_IS_REMOTE) for kind in SpanKind]
_KINDS_OF_REMOTE = [_kind_and_flags(kind, _HAS_IS_REMOTE | _IS_REMOTE) for kind in SpanKind]
_LINK_FLAGS = tag(6, FIXED32) + fixed32(_HAS_IS_REMOTE)
_LINK_FLAGS_OF_REMOTE = tag(6, FIXED32) + fixed32(_HAS_IS_REMOTE | _IS_REMOTE)


# The items of a BoundedList, without a copy.
_items_of = attrgetter("_dq")


class SpanEncoder:
    """Encodes ended spans.

    `encode` raises UnknownError, or any other error, for what must be left to the official encoder.
    """

    def __init__(self, attributes: AttributeEncoder, budget: Budget) -> None:
        self._attributes = attributes.encode
        self._names = _Names(5, budget)
        self._event_names = _Names(2, budget)

    def encode(self, span: Any) -> bytes:
        """Encode one span, without tag and length."""
        context, parent, kind = span._context, span._parent, span._kind
        start, end = span._start_time, span._end_time
        if type(context) is not SpanContext or type(kind) is not SpanKind:
            raise UnknownError((context, kind))
        if type(start) is not int or type(end) is not int:
            raise UnknownError((start, end))
        trace_id, span_id, _, _, state, _ = context
        ids = trace_id.to_bytes(16, "big")
        if parent is None:
            ids = _IDS(_TRACE_ID, ids, _SPAN_ID, span_id)
            kinds = _KINDS
        elif type(parent) is SpanContext:
            ids = _IDS_AND_PARENT(_TRACE_ID, ids, _SPAN_ID, span_id, _PARENT_ID, parent[1])
            kinds = _KINDS_OF_REMOTE if parent[2] else _KINDS
        else:
            raise UnknownError(parent)
        return b"".join(
            (
                ids,
                self._names[span._name],
                kinds[kind._value_],
                _TIMES(_START, start, _END, end),
                self._attributes(span._attributes, _ATTRIBUTES, _DROPPED_ATTRIBUTES),
                _many(span._events, self._event, _DROPPED_EVENTS),
                _many(span._links, self._link, _DROPPED_LINKS),
                _status(span._status),
                b"" if state is DEFAULT_TRACE_STATE else _trace_state(state),
            )
        )

    def _event(self, event: Any) -> bytes:
        time = event._timestamp
        if type(event) is not Event or type(time) is not int:
            raise UnknownError(event)
        attributes = self._attributes(event._attributes, _EVENT_ATTRIBUTES, _EVENT_DROPPED)
        name = self._event_names[event._name]
        content = _EVENT_TIME + fixed64(time) + name + attributes
        return _EVENTS + delimited(content)

    def _link(self, link: Any) -> bytes:
        context = link._context
        if type(link) is not Link or type(context) is not SpanContext:
            raise UnknownError(link)
        trace_id, span_id, is_remote, _, _, _ = context
        ids = _IDS(_TRACE_ID, trace_id.to_bytes(16, "big"), _SPAN_ID, span_id)
        flags = _LINK_FLAGS_OF_REMOTE if is_remote else _LINK_FLAGS
        attributes = self._attributes(link._attributes, _LINK_ATTRIBUTES, _LINK_DROPPED)
        return _LINKS + delimited(ids + flags + attributes)


class _Names(Cache[str]):
    """Fields with the names of spans, or of events."""

    __slots__ = ("_number",)

    def __init__(self, number: int, budget: Budget) -> None:
        super().__init__(budget, _MOST_NAMES)
        self._number = number
        budget.covers(self)

    def encode(self, value: str) -> bytes:
        return field(self._number, str.encode(value))


def _many(items: Any, encode: Callable[[Any], bytes], dropped_tag: bytes) -> bytes:
    """Encode one field for each item, and one for the number of dropped items, if any."""
    if type(items) is BoundedList:
        kept, dropped = _items_of(items), items.dropped
        encoded = b"".join(map(encode, kept)) if kept else b""
        return encoded + dropped_tag + varint(dropped) if dropped else encoded
    if type(items) in {tuple, list}:
        return b"".join(map(encode, items))
    raise UnknownError(items)


def _status(status: Any) -> bytes:
    if type(status) is not Status:
        raise UnknownError(status)
    code, text = status._status_code, status._description
    if code is StatusCode.UNSET and text is None:
        return _UNSET
    message = b"" if text is None else field(2, str.encode(text))
    return field(15, message + tag(3, VARINT) + varint(code.value))


def _trace_state(state: Any) -> bytes:
    return field(3, ",".join([f"{key}={value}" for key, value in state.items()]).encode())
