"""Where received telemetry is kept, and waited for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_queue_plugins.cli.otlp import read_logs, read_points, read_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from otel_queue_plugins.cli.received import ReceivedLog, ReceivedPoint, ReceivedSpan


class TelemetryStore:
    """Spans, points and logs in the order of arrival; every method is thread-safe."""

    def __init__(self) -> None:
        self._arrival = threading.Condition()
        self._spans: list[ReceivedSpan] = []
        self._points: list[ReceivedPoint] = []
        self._logs: list[ReceivedLog] = []

    def spans(self) -> list[ReceivedSpan]:
        """A copy of the spans so far."""
        with self._arrival:
            return list(self._spans)

    def points(self) -> list[ReceivedPoint]:
        """A copy of the data points so far: one per series and export, the latest last."""
        with self._arrival:
            return list(self._points)

    def logs(self) -> list[ReceivedLog]:
        """A copy of the log records so far."""
        with self._arrival:
            return list(self._logs)

    def clear(self) -> None:
        """Forget everything received so far."""
        with self._arrival:
            self._spans.clear()
            self._points.clear()
            self._logs.clear()

    def wait_for(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Whether `predicate` became true within `timeout` seconds; asked again on each arrival."""
        with self._arrival:
            return self._arrival.wait_for(predicate, timeout)

    def add(self, request: Message) -> None:
        """Keep what an export request of any of the three signals holds."""
        with self._arrival:
            if isinstance(request, ExportTraceServiceRequest):
                self._spans.extend(read_spans(request))
            elif isinstance(request, ExportMetricsServiceRequest):
                self._points.extend(read_points(request))
            elif isinstance(request, ExportLogsServiceRequest):
                self._logs.extend(read_logs(request))
            self._arrival.notify_all()
