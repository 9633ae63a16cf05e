"""The floor: the same two spans, propagation and metrics, straight against the API from wrappers.

Nothing is decided, guarded or cleaned up here. It is what the SDK itself costs, and the least that
any instrumentation making these spans could cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Span, SpanKind


class Floor:
    """Two spans of eight attributes; with metrics one counter and two histograms."""

    def __init__(self, framework: str, *, metrics_on: bool) -> None:
        self._framework = framework
        self._metrics_on = metrics_on
        self._tracer = trace.get_tracer("floor")
        meter = metrics.get_meter("floor")
        self._sent = meter.create_counter("messaging.client.sent.messages")
        self._sending = meter.create_histogram("messaging.client.operation.duration", "s")
        self._running = meter.create_histogram("messaging.process.duration", "s")
        self._labels: dict[str, str] = {
            "messaging.system": "memory",
            "messaging.destination.name": "default",
            "taskqueue.task.name": "noop",
        }

    def send(
        self, message_id: str, carrier: MutableMapping[str, Any], go: Callable[[], Any]
    ) -> Any:
        started = time.perf_counter()
        span = self._start("send", SpanKind.PRODUCER, message_id, None)
        token = context.attach(trace.set_span_in_context(span))
        propagate.inject(carrier)
        try:
            return go()
        finally:
            if self._metrics_on:
                self._sent.add(1, self._labels)
                self._sending.record(time.perf_counter() - started, self._labels)
            context.detach(token)
            span.end()

    def run(self, message_id: str, carrier: MutableMapping[str, Any], go: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        parent = propagate.extract(carrier)
        span = self._start("process", SpanKind.CONSUMER, message_id, parent)
        token = context.attach(trace.set_span_in_context(span, parent))
        try:
            return go()
        finally:
            if self._metrics_on:
                self._running.record(time.perf_counter() - started, self._labels)
            context.detach(token)
            span.end()

    def _start(
        self, operation: str, kind: SpanKind, message_id: str, parent: context.Context | None
    ) -> Span:
        attributes = {
            "messaging.system": "memory",
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "messaging.destination.name": "default",
            "messaging.message.id": message_id,
            "messaging.message.conversation_id": message_id,
            "taskqueue.framework": self._framework,
            "taskqueue.task.name": "noop",
        }
        return self._tracer.start_span(operation, parent, kind, attributes)
