"""One line a minute about an unreachable backend, not one per attempt."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk.family import WARNED, Moment

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 60.0
_TALKATIVE = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)


class OncePerInterval(logging.Filter):
    """Lets one record through per `interval` seconds, over all loggers it is added to.

    And over all processes that share `warned`. `dropped` tells how many spans this one has lost
    so far; the line that gets through says so.
    """

    def __init__(
        self,
        dropped: Callable[[], int],
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        warned: Moment = WARNED,
    ) -> None:
        super().__init__()
        self._dropped = dropped
        self._interval = interval
        self._clock = clock
        self._warned = warned

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record`, a warning or worse, is the first of its interval."""
        now = self._clock()
        if record.levelno < logging.WARNING:
            return True
        if self._warned.at and now - self._warned.at < self._interval:
            return False
        self._warned.at = now
        record.msg = (
            f"{record.getMessage()} (telemetry goes on trying; spans dropped so far: "
            f"{self._dropped()}; said once in {self._interval:g} s)"
        )
        record.args = ()
        record.exc_info = None
        return True


def hush(dropped: Callable[[], int]) -> None:
    """Apply the limit to the loggers of the SDK's exporters and processors."""
    once = OncePerInterval(dropped)
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(once)
