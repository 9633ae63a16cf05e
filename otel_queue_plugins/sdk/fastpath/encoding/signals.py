"""Encoders of spans and of log records, if they are proven. They share what they keep."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import ReadableSpan

from otel_queue_plugins.sdk.fastpath.encoding import encoding_trial
from otel_queue_plugins.sdk.fastpath.encoding.attributes import AttributeEncoder
from otel_queue_plugins.sdk.fastpath.encoding.caching import Budget
from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder, Signal
from otel_queue_plugins.sdk.fastpath.encoding.otlp_logs import LogEncoder
from otel_queue_plugins.sdk.fastpath.encoding.otlp_spans import SpanEncoder
from otel_queue_plugins.sdk.fastpath.encoding.proven import is_proven


def span_encoder() -> Encoder | None:
    """None if it is not proven. May raise anything."""
    budget, attributes = _kept()
    signal = Signal(
        record=ReadableSpan,
        origin=attrgetter("_resource", "_instrumentation_scope"),
        encode=SpanEncoder(attributes, budget).encode,
        official=encode_spans,
        records=lambda request: request.resource_spans[0].scope_spans[0].spans,
    )
    return _proven(Encoder(signal, encode_spans), encoding_trial.spans())


def log_encoder() -> Encoder | None:
    """None if it is not proven. May raise anything."""
    _, attributes = _kept()
    signal = Signal(
        record=ReadableLogRecord,
        origin=attrgetter("resource", "instrumentation_scope"),
        encode=LogEncoder(attributes).encode,
        official=encode_logs,
        records=lambda request: request.resource_logs[0].scope_logs[0].log_records,
    )
    return _proven(Encoder(signal, encode_spans), encoding_trial.log_records())


@cache
def _kept() -> tuple[Budget, AttributeEncoder]:
    budget = Budget()
    return budget, AttributeEncoder(budget)


def _proven(encoder: Encoder, records: Sequence[Any]) -> Encoder | None:
    proven = is_proven(encoder.signal.official) and encoding_trial.is_passed(encoder, records)
    return encoder if proven else None
