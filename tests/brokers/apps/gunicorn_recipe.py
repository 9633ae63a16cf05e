"""gunicorn's settings with the recipe that OpenTelemetry's documentation has for forks."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def post_fork(_server: object, _worker: object) -> None:
    """Set a tracer provider, in each worker process."""
    provider = TracerProvider(resource=Resource.create({"service.name": "recipe"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
