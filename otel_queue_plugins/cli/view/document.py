"""Spans and metrics as plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from otel_queue_plugins.cli.received import ReceivedPoint, ReceivedSpan
from otel_queue_plugins.cli.view.metrics import latest
from otel_queue_plugins.cli.view.trace import Trace


def trace_document(trace: Trace) -> dict[str, Any]:
    """A trace with its spans in tree order. Times in nanoseconds since the epoch."""
    return {
        "trace_id": trace.trace_id,
        "duration_s": trace.duration_s,
        "spans": [_span(row.span, len(row.branches)) for row in trace.rows],
    }


def metric_documents(points: Iterable[ReceivedPoint]) -> list[dict[str, Any]]:
    """The last state of every series of every process."""
    return [_point(point) for point in latest(points)]


def _span(span: ReceivedSpan, depth: int) -> dict[str, Any]:
    return {**asdict(span), "depth": depth, "duration_s": span.duration_s}


def _point(point: ReceivedPoint) -> dict[str, Any]:
    return {
        "name": point.name,
        "unit": point.unit,
        "kind": point.kind,
        "temporality": point.temporality,
        "service": point.service,
        "attributes": dict(point.attributes),
        "value": point.value,
        "histogram": asdict(point.histogram) if point.histogram else None,
        "exemplars": [asdict(exemplar) for exemplar in point.exemplars],
    }
