"""What a web app answers, so that a test knows which process it was and which trace."""

from __future__ import annotations

import os

from opentelemetry import trace


def answer() -> dict[str, object]:
    """The process, and the trace of the request as the handler sees it."""
    context = trace.get_current_span().get_span_context()
    return {"pid": os.getpid(), "trace_id": trace.format_trace_id(context.trace_id)}
