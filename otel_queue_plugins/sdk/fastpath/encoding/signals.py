"""The encoders of spans and of log records. They share their caches."""

from __future__ import annotations

from functools import cache
from operator import attrgetter

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.trace import ReadableSpan

from otel_queue_plugins.sdk.fastpath.encoding import encoding_trial
from otel_queue_plugins.sdk.fastpath.encoding.attributes import AttributeEncoder
from otel_queue_plugins.sdk.fastpath.encoding.caching import Budget
from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder, Signal
from otel_queue_plugins.sdk.fastpath.encoding.otlp_logs import LogRecordEncoder
from otel_queue_plugins.sdk.fastpath.encoding.otlp_spans import SpanEncoder
from otel_queue_plugins.sdk.fastpath.encoding.proven import is_proven
from otel_queue_plugins.sdk.fastpath.gate import UnexpectedSdkError


def proven_encoder(name: str) -> Encoder:
    """Make the encoder of `traces` or `logs`.

    Raises UnexpectedSdkError if it is not proven, and whatever the SDK raises in its trial.
    """
    signal, records = (
        (_spans(), encoding_trial.spans()) if name == "traces" else (_logs(), encoding_trial.logs())
    )
    encoder = Encoder(signal, encode_spans)
    if not (is_proven(signal.official) and encoding_trial.has_passed(encoder, records)):
        raise UnexpectedSdkError("the trial came out different, or somebody has patched it")
    return encoder


def _spans() -> Signal:
    budget, attributes = _caches()
    return Signal(
        record=ReadableSpan,
        origin=attrgetter("_resource", "_instrumentation_scope"),
        encode=SpanEncoder(attributes, budget).encode,
        official=encode_spans,
        records=lambda request: request.resource_spans[0].scope_spans[0].spans,
    )


def _logs() -> Signal:
    _, attributes = _caches()
    return Signal(
        record=ReadableLogRecord,
        origin=attrgetter("resource", "instrumentation_scope"),
        encode=LogRecordEncoder(attributes).encode,
        official=encode_logs,
        records=lambda request: request.resource_logs[0].scope_logs[0].log_records,
    )


@cache
def _caches() -> tuple[Budget, AttributeEncoder]:
    budget = Budget()
    return budget, AttributeEncoder(budget)
