"""The exporter of log records that is built anew in each process.

It has a module of its own because the SDK has logs under a private name: a version that has moved
them exports no logs, but spans and metrics.
"""

from __future__ import annotations

# ruff: noqa: D102, ARG002 - the methods are the SDK's, and so are their meaning and parameters
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from otel_queue_plugins.sdk.export.exporters import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord


class ProcessLogExporter(LogRecordExporter):
    """Exports log records from the current process."""

    def __init__(self, make: Callable[[], LogRecordExporter]) -> None:
        self._exporter: PerProcess[Any] = PerProcess(make)

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        result: LogRecordExportResult = self._exporter.get().export(batch)
        return result

    def shutdown(self) -> None:
        if exporter := self._exporter.made_here():
            exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
