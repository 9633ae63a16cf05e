"""The hand-over between the processes of a worker, both sides of it in one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.benchmarks.measured.core_only import CoreOnly

# Nobody answers there, and nothing is sent before the process ends.
_ENDPOINT = "http://127.0.0.1:9"
_NEVER_MS = "600000"
_MANY = "100000"


class Both:
    """A worker whose deliveries run here; `as_child` says in which of its processes."""

    def __init__(self) -> None:
        os.environ |= {
            "OTEL_QUEUE_RELAY": "on",
            "OTEL_EXPORTER_OTLP_ENDPOINT": _ENDPOINT,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRIC_EXPORT_INTERVAL": _NEVER_MS,
            "OTEL_BSP_SCHEDULE_DELAY": _NEVER_MS,
            "OTEL_BSP_MAX_QUEUE_SIZE": _MANY,
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": _MANY,
        }
        from otel_queue_plugins.sdk import ensure_providers, relay

        relay.open_relay()
        ensure_providers()
        opened: Any = relay.of_this_worker()
        self._relay = opened
        self._home = opened._home
        self._outbox: Any = None
        self._core = CoreOnly("celery")
        self._carrier: dict[str, Any] = {}
        self._core.send("id", self._carrier, lambda: None)

    def deliver(self, count: int) -> None:
        """As a child: the spans and the measurements of `count` deliveries are in the pipe."""
        self._as_child()
        for _ in range(count):
            self._core.run("id", self._carrier, lambda: None)

    def take(self) -> None:
        """As the process that exports: what is in the pipe is counted and queued."""
        self._at_home()
        self._relay.collector.drain()

    def settle(self) -> None:
        """What is due before metrics are read."""
        settle: Callable[[], None] = getattr(self._relay.collector, "settle", lambda: None)
        settle()

    def counted(self) -> int:
        """Deliveries, as the process that exports counts them."""
        from opentelemetry import metrics

        from otel_queue_plugins.core.metrics import observed

        kept = observed.counts_of(metrics.get_meter_provider(), lambda: 0)
        options = metrics.CallbackOptions()
        return sum(int(each.value) for each in kept.consumed.observe(options))

    def _as_child(self) -> None:
        from otel_queue_plugins.sdk.relay.outbox import Outbox

        if self._outbox is None:
            self._outbox = Outbox(self._relay._pipe, 2048, 2048)
        self._relay._home, self._relay._outbox = 0, self._outbox

    def _at_home(self) -> None:
        self._relay._home, self._relay._outbox = self._home, None
