"""The metrics of a whole worker: collected in one process, and sent from there."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricReader

from otel_queue_plugins.sdk.relay.lanes import quietly

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData

logger = logging.getLogger("otel_queue_plugins")


class AskedReader(MetricReader):
    """Collects when it is asked to. The SDK's own has a thread, and another in each child."""

    def __init__(
        self, exporter: MetricExporter, temporality: dict[type, Any], aggregation: dict[type, Any]
    ) -> None:
        super().__init__(preferred_temporality=temporality, preferred_aggregation=aggregation)
        self._exporter = exporter

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any
    ) -> None:
        with quietly():
            self._exporter.export(metrics_data, timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Send what there is a last time."""
        self.collect(timeout_millis)


class MetricsExport:
    """Of the whole worker. `provider` is the SDK's; `settle` records what others have measured."""

    def __init__(self, provider: Any, interval: float, settle: Callable[[], None]) -> None:
        self.provider = provider
        self._interval = interval
        self._settle = settle
        self._exporting = threading.Lock()

    def run(self) -> None:
        """Send for ever."""
        while True:
            time.sleep(self._interval)
            try:
                self._settle()
            except Exception:
                logger.exception("what processes have measured could not be recorded")
            self.flush(self._interval)

    def flush(self, seconds: float) -> bool:
        """Send what there is; whether that was done in this time."""
        deadline = time.monotonic() + seconds
        if not self._exporting.acquire(timeout=seconds):
            return False
        try:
            return bool(self.provider.force_flush(max(1.0, (deadline - time.monotonic()) * 1000)))
        except Exception:
            logger.exception("metrics could not be sent")
            return False
        finally:
            self._exporting.release()
