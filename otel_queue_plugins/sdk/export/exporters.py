"""Exporters that are built anew in each process, so that no child uses an inherited connection."""

from __future__ import annotations

# ruff: noqa: D102, ARG002 - the methods are the SDK's, and so are their meaning and parameters
import os
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

from otel_queue_plugins.sdk.export import exported
from otel_queue_plugins.sdk.export.dropped import EXPORT_FAILED, QUEUE_FULL, Dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
    from opentelemetry.sdk.metrics.view import Aggregation
    from opentelemetry.sdk.trace import ReadableSpan

T = TypeVar("T")


class PerProcess(Generic[T]):
    """One `T` per process: made at once in this one, and at first use in a child. Not thread-safe.

    It is made at once because a fork during its imports would leave the child with an unfinished
    module. The parent's is kept in a child, but not used: to close an inherited gRPC channel, or
    to let it be collected, can block for ever.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made = [make()]
        self._pid = os.getpid()

    def get(self) -> T:
        """The `T` of this process, made if need be."""
        if self._pid != os.getpid():
            self._made.append(self._make())
            self._pid = os.getpid()
        return self._made[-1]

    def made_here(self) -> T | None:
        """The `T` of this process, None in a child that has not used it yet."""
        return self._made[-1] if self._pid == os.getpid() else None


class ProcessSpanExporter(SpanExporter):
    """Exports spans from the current process, and counts those it could not export."""

    def __init__(self, make: Callable[[], SpanExporter], dropped: Dropped) -> None:
        self._exporter = PerProcess(make)
        self._dropped = dropped
        self.before_export: Callable[[int], None] = lambda _spans: None
        self.after_export: Callable[[int], None] = lambda _spans: None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        self.before_export(len(spans))
        try:
            result = self._exporter.get().export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                exported.add(len(spans))
            else:
                self._dropped.add(EXPORT_FAILED, len(spans))
            self.after_export(len(spans))
        return result

    def shutdown(self) -> None:
        if exporter := self._exporter.made_here():
            exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class ProcessMetricExporter(MetricExporter):
    """Exports metrics from the current process."""

    def __init__(
        self,
        make: Callable[[], MetricExporter],
        temporality: dict[type, AggregationTemporality],
        aggregation: dict[type, Aggregation],
        dropped: Dropped,
    ) -> None:
        super().__init__(preferred_temporality=temporality, preferred_aggregation=aggregation)
        self._exporter = PerProcess(make)
        self._dropped = dropped

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        result = self._exporter.get().export(metrics_data, timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            exported.add(0)
            self._dropped.mark_reported()
        return result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        if exporter := self._exporter.made_here():
            exporter.shutdown(timeout_millis=timeout_millis)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True


class CountingSpanProcessor(BatchSpanProcessor):
    """The SDK's batch processor, which drops the oldest span when its queue is full; counts those.

    Spans that have entered, and are neither queued nor taken to be exported, were dropped. A span
    counts as entered after it was queued: the number is never too high, and exact at rest.
    """

    def __init__(self, exporter: ProcessSpanExporter, dropped: Dropped) -> None:
        self._dropped = dropped
        self._begin()
        super().__init__(exporter)
        self._queue: Any = getattr(getattr(self, "_batch_processor", None), "_queue", None)
        exporter.before_export, exporter.after_export = self._take, self._settle
        dropped.watch(self.waiting)

    def on_end(self, span: ReadableSpan) -> None:
        super().on_end(span)
        if span.context is not None and span.context.trace_flags.sampled:
            if self._pid != os.getpid():
                self._begin()
            with self._lock:
                self._entered += 1

    def waiting(self) -> int:
        """Spans that are queued or being exported, with those dropped but not counted yet."""
        self._check_process()
        return self._entered - self._settled - self._lost

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._entered = self._taken = self._settled = self._lost = 0

    def _take(self, count: int) -> None:
        """Called by the exporter before an export, in the one thread that empties the queue."""
        self._check_process()
        self._taken += count
        lost = self._entered - self._taken - len(self._queue or ())
        if self._queue is not None and lost > self._lost:
            self._dropped.add(QUEUE_FULL, lost - self._lost)
            self._lost = lost

    def _settle(self, count: int) -> None:
        """Called by the exporter after an export: the spans arrived, or are counted as dropped."""
        self._settled += count
        self._dropped.amend()
