"""Whether the SDK is one that our encoder was compared with, and as its authors left it."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.version import __version__ as encoder_version
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, Status, TraceState

from otel_queue_plugins.sdk.fastpath import gate

_VERSIONS = ("1.44.", "1.45.")
# What the official encoder asks for, and ours takes.
_ASKED_FOR: dict[type, tuple[str, ...]] = {
    ReadableSpan: (
        *("get_span_context", "parent", "name", "kind", "start_time", "end_time", "status"),
        *("attributes", "events", "links", "resource", "instrumentation_scope"),
        *("dropped_attributes", "dropped_events", "dropped_links"),
    ),
    Event: ("name", "timestamp", "attributes", "dropped_attributes"),
    Link: ("context", "attributes", "dropped_attributes"),
    SpanContext: ("trace_id", "span_id", "is_remote", "trace_state"),
    TraceState: ("__iter__", "__getitem__"),
    Status: ("status_code", "description"),
    ReadableLogRecord: ("dropped_attributes",),
    BoundedAttributes: ("__iter__", "__getitem__", "__len__"),
    BoundedList: ("__iter__", "__len__"),
}


def is_proven(official: Any) -> bool:
    """Whether the `official` encoder and its classes are those that ours stands for.

    The version of the SDK is checked before.
    """
    return (
        (encoder_version.startswith(_VERSIONS) or gate.is_forced())
        and _is_from(official, official.__module__)
        and all(_is_own(cls, name) for cls, names in _ASKED_FOR.items() for name in names)
    )


def _is_own(cls: type, name: str) -> bool:
    """Whether a method or property is code of the modules that `cls` and its bases come from."""
    member = getattr(cls, name, None)
    function = member.fget if isinstance(member, property) else member
    return any(_is_from(function, base.__module__) for base in cls.__mro__)


def _is_from(function: object, module: str) -> bool:
    return type(function) is FunctionType and function.__globals__ is vars(sys.modules[module])
