"""The OpenTelemetry SDK as each mode wants it, with exporters that send nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.benchmarks.measured.encoding import Encode, official

RATIO = 0.01
NEVER_MS = 600_000
MODES = ("nosdk", "on", "metrics", "ratio", "ratio+metrics", "otlp+metrics")
SAMPLER_MODES = ("taskqueue+metrics", "keep+metrics")  # with our sampler, which samples nothing


class Telemetry(NamedTuple):
    """What a process can do with its own telemetry at the end of a measured stretch."""

    flush: Callable[[], object]
    spans: Callable[[], int]
    points: Callable[[], int]


NOTHING = Telemetry(flush=lambda: None, spans=lambda: 0, points=lambda: 0)


def configure(mode: str, encoder: Callable[[], Encode] = official) -> Telemetry:
    """Set the global providers for `mode`; the batch processor waits for a flush.

    `encoder` makes what encodes the spans in the modes that do that.
    """
    if mode == "nosdk":
        return NOTHING
    exporter = _trace_exporter(encoder() if mode.startswith("otlp") else None)
    sampler = _sampler(mode.partition("+")[0])
    provider = _tracer_provider(exporter, sampler)
    points = _meter_provider() if "metrics" in mode else NOTHING.points
    return Telemetry(flush=provider.force_flush, spans=lambda: exporter.count, points=points)


def _sampler(mode: str) -> Any:
    from opentelemetry.sdk.trace import sampling

    if mode in {"taskqueue", "keep"}:
        from otel_queue_plugins.sampling import TaskQueueSampler

        return TaskQueueSampler("default=0", keep="errors" if mode == "keep" else None)
    root = sampling.TraceIdRatioBased(RATIO) if mode == "ratio" else sampling.ALWAYS_ON
    return sampling.ParentBased(root)


def _tracer_provider(exporter: Any, sampler: Any) -> Any:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class SameIds(IdGenerator):
        """Draws the same ids in every process, so the same messages are sampled."""

        bits = random.Random(20).getrandbits

        def generate_span_id(self) -> int:
            return self.bits(64)

        def generate_trace_id(self) -> int:
            return self.bits(128)

    provider = TracerProvider(sampler=sampler, id_generator=SameIds())
    processor: Any = BatchSpanProcessor(exporter, schedule_delay_millis=NEVER_MS)
    if getattr(sampler, "keep", None) is not None:
        from otel_queue_plugins.sampling import KeepingSpanProcessor

        processor = KeepingSpanProcessor(sampler, processor)
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    return provider


def _meter_provider() -> Callable[[], int]:
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))

    def points() -> int:
        data = reader.get_metrics_data()
        resources = data.resource_metrics if data else ()
        scopes = [scope for resource in resources for scope in resource.scope_metrics]
        return sum(len(metric.data.data_points) for scope in scopes for metric in scope.metrics)

    return points


def _trace_exporter(encode: Encode | None) -> Any:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Discarding(SpanExporter):
        count = 0

        def export(self, spans: Any) -> SpanExportResult:
            self.count += len(spans)
            if encode is not None:
                encode(spans)
            return SpanExportResult.SUCCESS

    return Discarding()
