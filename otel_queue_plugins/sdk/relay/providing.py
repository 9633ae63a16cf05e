"""The SDK's providers of a worker, whose resource stays the same in all of its processes.

The SDK's own look anew for what describes a child, in threads. Here it is the worker that is
described, under one `service.instance.id`.
"""

from __future__ import annotations

import threading

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider


class RelayTracerProvider(TracerProvider):
    """Its spans end in any process of the worker."""

    is_relayed = True

    def _handle_fork(self) -> None:
        self._tracers_lock = threading.Lock()

    def is_only_relayed(self) -> bool:
        """Whether nobody has added a processor."""
        return len(getattr(self._active_span_processor, "_span_processors", (0, 0))) == 1


class RelayLoggerProvider(LoggerProvider):
    """Its log records are emitted in any process of the worker."""

    is_relayed = True

    def _handle_fork(self) -> None:
        self._logger_cache_lock = threading.Lock()
        self._active_loggers_lock = threading.Lock()

    def is_only_relayed(self) -> bool:
        """Whether nobody has added a processor."""
        processors = getattr(self._multi_log_record_processor, "_log_record_processors", (0, 0))
        return len(processors) == 1


class WorkerMeterProvider(MeterProvider):
    """Of the process that exports; children do not touch it."""

    def _handle_fork(self) -> None:
        """Nothing is to be done."""
