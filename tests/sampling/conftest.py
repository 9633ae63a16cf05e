"""A producer and a worker whose provider has a `TaskQueueSampler`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sampling import KeepingSpanProcessor, TaskQueueSampler
from otel_queue_plugins.sdk import fastpath
from tests.core.conftest import Queue
from tests.sampling_simulation import FakeTime

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from tests.conftest import FakeClock

    MakeQueue = Callable[..., Queue]


@pytest.fixture
def fake_time() -> FakeTime:
    """The clock of the sampler."""
    return FakeTime()


@pytest.fixture(params=[None, fastpath], ids=["api", "fast path"])
def make_queue(
    request: pytest.FixtureRequest,
    fake_clock: FakeClock,
    fake_time: FakeTime,
    span_exporter: InMemorySpanExporter,
    metric_reader: InMemoryMetricReader,
    meter_provider: MeterProvider,
) -> Iterator[MakeQueue]:
    """Takes rules, options, and whether the exporter is told what is kept."""
    made: list[TracerProvider] = []

    def make(rules: str, *, is_keeping: bool = True, **options: object) -> Queue:
        sampler = TaskQueueSampler(rules, clock=fake_time)
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        made.append(provider)
        exporting = SimpleSpanProcessor(span_exporter)
        if is_keeping and sampler.keep is not None:
            provider.add_span_processor(KeepingSpanProcessor(sampler, exporting))
        else:
            provider.add_span_processor(exporting)
        telemetry = QueueTelemetry(
            "celery",
            options=Options(**options),
            tracer_provider=provider,
            meter_provider=meter_provider,
            fast_path=request.param,
            clock=fake_clock,
        )
        return Queue(
            telemetry,
            fake_clock,
            span_exporter,
            metric_reader,
            provider,
            meter_provider,
            request.param,
        )

    yield make
    for provider in made:
        provider.shutdown()
