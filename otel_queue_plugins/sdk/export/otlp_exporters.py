"""Build the SDK's OTLP exporters from a `Target`, with our encoder where it is proven."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from otel_queue_plugins.sdk import greenlets
from otel_queue_plugins.sdk.config.targets import GRPC, Target
from otel_queue_plugins.sdk.diagnosis import export_calls, export_failures
from otel_queue_plugins.sdk.fastpath import encoding
from otel_queue_plugins.sdk.fastpath.encoding import attaching

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

T = TypeVar("T", bound=Any)


def span_exporter(target: Target, encoder: Any = None) -> SpanExporter:
    """Build an exporter of spans that encodes with `encoder`, or with ours where it is proven.

    Raises OSError if a certificate cannot be read, RuntimeError if it cannot use `encoder`.
    """
    if target.protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GrpcExporter,
        )

        return _watched(
            _in_native_thread(_encoding_spans(GrpcExporter(**_grpc_arguments(target)), encoder)),
            target,
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return _watched(_encoding_spans(OTLPSpanExporter(**_http_arguments(target)), encoder), target)


def metric_exporter(target: Target) -> MetricExporter:
    """Build an exporter of metrics. Raises OSError if a certificate cannot be read."""
    if target.protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
            OTLPMetricExporter as GrpcExporter,
        )

        return _watched(_in_native_thread(GrpcExporter(**_grpc_arguments(target))), target)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return _watched(OTLPMetricExporter(**_http_arguments(target)), target)


def log_exporter(target: Target, encoder: Any = None) -> LogRecordExporter:
    """Build an exporter of log records, in the same way as `span_exporter`."""
    if target.protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import (
            OTLPLogExporter as GrpcExporter,
        )

        return _watched(
            _in_native_thread(_encoding_logs(GrpcExporter(**_grpc_arguments(target)), encoder)),
            target,
        )
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return _watched(_encoding_logs(OTLPLogExporter(**_http_arguments(target)), encoder), target)


def _encoding_spans(exporter: T, encoder: Any) -> T:
    return _using(encoder, exporter) or attaching.attach(encoding.span_encoder(), exporter)


def _encoding_logs(exporter: T, encoder: Any) -> T:
    return _using(encoder, exporter) or attaching.attach(encoding.log_encoder(), exporter)


def _using(encoder: Any, exporter: T) -> T | None:
    if encoder is None:
        return None
    attaching.attach(encoder, exporter)
    if not attaching.is_attached(exporter):
        raise RuntimeError(f"{type(exporter)} cannot use {encoder}")
    return exporter


def _in_native_thread(exporter: T) -> T:
    exporter.export = greenlets.in_native_thread(exporter.export)
    return exporter


def _watched(exporter: T, target: Target) -> T:
    exporter.export = export_calls.watched(exporter.export, target, export_failures.on_failure)
    return exporter


def _http_arguments(target: Target) -> dict[str, Any]:
    from opentelemetry.exporter.otlp.proto.http import Compression

    return {
        "endpoint": target.endpoint,
        "certificate_file": target.certificate,
        "client_key_file": target.client_key,
        "client_certificate_file": target.client_certificate,
        "headers": dict(target.headers),
        "timeout": target.timeout,
        "compression": Compression(target.compression),
        "session": _session(target),
    }


def _session(target: Target) -> Any:
    """The session; None where a credential provider in the environment makes its own."""
    variable = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}CREDENTIAL_PROVIDER"
    names = (variable.format(f"{target.signal.upper()}_"), variable.format(""))
    if target.certificate is None and any(os.environ.get(name) for name in names):
        return None
    from otel_queue_plugins.sdk.export.http_session import Session

    return Session(target.certificate)


def _grpc_arguments(target: Target) -> dict[str, Any]:
    grpc = import_module("grpc")
    gzip = target.compression == "gzip"
    return {
        "endpoint": target.endpoint,
        "insecure": target.insecure,
        "credentials": _credentials(target),
        "headers": target.headers,
        "timeout": target.timeout,
        "compression": grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression,
    }


def _credentials(target: Target) -> Any:
    """The credentials; None where the exporter has to choose: system roots, or a provider."""
    if target.insecure or not (target.certificate or target.client_certificate):
        return None
    return import_module("grpc").ssl_channel_credentials(
        root_certificates=_content(target.certificate),
        private_key=_content(target.client_key),
        certificate_chain=_content(target.client_certificate),
    )


def _content(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None
