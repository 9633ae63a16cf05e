"""Parents of the spans that both trials make: their span contexts, and contexts with them."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

_STATE = TraceState([("a", "1"), ("b", "2")])
REMOTE = SpanContext(0xA1, 0xB1, is_remote=True, trace_flags=TraceFlags(3), trace_state=_STATE)
LOCAL = SpanContext(0xA2, 0xB2, is_remote=False, trace_flags=TraceFlags(1))
UNSAMPLED = SpanContext(0xA3, 0xB3, is_remote=True, trace_flags=TraceFlags(0))
INVALID = SpanContext(0, 0, is_remote=False)


def context_of(parent: SpanContext) -> Context:
    """A context whose current span has the span context `parent`, and nothing else."""
    return set_span_in_context(NonRecordingSpan(parent), Context())
