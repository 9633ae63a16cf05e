"""Check that the official encoder is a proven version, and that nothing it uses is patched."""

from __future__ import annotations

from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.version import __version__ as encoder_version
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, SpanContext, Status, TraceState

from otel_queue_plugins.sdk.fastpath import gate
from otel_queue_plugins.sdk.fastpath.unpatched import are_unpatched, is_function_of

_VERSIONS = ("1.44.", "1.45.")
# What the official encoder uses. Ours reads the private fields behind it, past any patch.
_USED: dict[type, tuple[str, ...]] = {
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
    """Whether our encoder can take the place of `official`; the SDK's version is checked before."""
    return (
        (encoder_version.startswith(_VERSIONS) or gate.is_forced())
        and is_function_of(official, official.__module__)
        and all(are_unpatched(cls, *names) for cls, names in _USED.items())
    )
