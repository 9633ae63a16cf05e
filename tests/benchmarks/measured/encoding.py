"""What encodes spans as OTLP: the official encoder, and ours, on spans of a real run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Encode = Callable[[Sequence[Any]], bytes]


def official() -> Encode:
    """The one of every exporter that is not ours."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return lambda spans: encode_spans(spans).SerializePartialToString()


def ours() -> Encode:
    """The one of the exporters that we set up."""
    from otel_queue_plugins.sdk.fastpath.encoding import span_encoder

    encoder = span_encoder()
    return official() if encoder is None else encoder.request


def ways() -> dict[str, Encode]:
    """Both, as they are used over HTTP and over gRPC, and with a request for each span."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    theirs, own = official(), ours()

    def over_grpc(spans: Sequence[Any]) -> bytes:
        return ExportTraceServiceRequest.FromString(own(spans)).SerializeToString()

    return {
        "official": theirs,
        "official, one at a time": _singly(theirs),
        "ours": own,
        "ours, over gRPC": over_grpc,
        "ours, one at a time": _singly(own),
    }


def _singly(encode: Encode) -> Encode:
    return lambda spans: b"".join([encode([span]) for span in spans])


def keep_spans() -> list[Any]:
    """A list that will have the spans which end from now on, as exporters get them."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor

    kept: list[Any] = []
    processor: Any = SpanProcessor()
    processor.on_end = kept.append
    provider: Any = trace.get_tracer_provider()
    provider.add_span_processor(processor)
    return kept
