"""The tracing packages as their users run them: with export to a collector that is there.

The settings come from the environment: `OTEL_*` or `DD_*`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OnApp = Callable[[Any], object]


def prepare(package: str, framework: str, *, in_worker: bool) -> OnApp:
    """Set `package` up in this process; returns what is to be done with the app or broker."""
    return _PACKAGES[package](framework, in_worker)


def _plain(framework: str, in_worker: bool) -> OnApp:
    del framework, in_worker
    return lambda _app: None


def set_providers() -> None:
    """Those of the SDK with its OTLP exporters, for traces and metrics."""
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))


def _contrib(framework: str, in_worker: bool) -> OnApp:
    del framework
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    if not in_worker:
        set_providers()
        CeleryInstrumentor().instrument()
        return lambda _app: None
    from celery.signals import worker_process_init

    def in_child(**_: Any) -> None:
        set_providers()
        CeleryInstrumentor().instrument()

    return lambda _app: worker_process_init.connect(in_child, weak=False)


def _instrumentor(framework: str, in_worker: bool) -> OnApp:
    del framework, in_worker
    from opentelemetry_instrumentor_dramatiq import DramatiqInstrumentor

    set_providers()
    DramatiqInstrumentor().instrument()
    return lambda _app: None


def _ddtrace(framework: str, in_worker: bool) -> OnApp:
    del in_worker
    from ddtrace import patch

    patch(**{framework: True})
    return lambda _app: None


def _ours(framework: str, in_worker: bool) -> OnApp:
    del in_worker
    if framework == "celery":
        from otel_queue_plugins.celery import instrument

        return instrument
    from otel_queue_plugins.dramatiq import instrument as instrument_broker

    return instrument_broker


_PACKAGES: dict[str, Callable[[str, bool], OnApp]] = {
    "plain": _plain,
    "contrib": _contrib,
    "instrumentor": _instrumentor,
    "ddtrace": _ddtrace,
    "ours": _ours,
    "ours+relay": _ours,
}
