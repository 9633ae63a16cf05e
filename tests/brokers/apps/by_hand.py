"""SDK providers set up by hand."""

from __future__ import annotations

import importlib
import os

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor


def record_span(name: str, **attributes: str) -> None:
    """Export one span now, for apps without this package."""
    protocol = os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"].partition("/")[0]
    exporters = importlib.import_module(
        f"opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter"
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporters.OTLPSpanExporter()))
    context = trace.set_span_in_context(trace.INVALID_SPAN)
    provider.get_tracer(__name__).start_span(name, context, attributes=attributes).end()
    provider.shutdown()


def use_own_providers() -> None:
    """What a user writes who configures the SDK at import, before any fork; counts one start."""
    protocol = os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"].partition("/")[0]
    package = f"opentelemetry.exporter.otlp.proto.{protocol}"
    spans = importlib.import_module(f"{package}.trace_exporter").OTLPSpanExporter()
    numbers = importlib.import_module(f"{package}.metric_exporter").OTLPMetricExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(spans))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(numbers)]))
    metrics.get_meter("app").create_counter("app.starts").add(1)
    trace.get_tracer("app").start_span("app start").end()
