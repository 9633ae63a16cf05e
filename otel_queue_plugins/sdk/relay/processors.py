"""What ends or is logged in any process of a worker goes to the one that exports."""

from __future__ import annotations

# ruff: noqa: D102 - the methods are the SDK's, and so are their meaning and parameters
import logging
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadWriteLogRecord
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_queue_plugins.sdk.relay.relay import Relay

logger = logging.getLogger("otel_queue_plugins")


class SpanRelay(SpanProcessor):
    """Encodes an ended span at once; no thread, no queue of its own."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        outbox = self._relay.outbox()
        if outbox is not None:
            if span.kind is SpanKind.CONSUMER:
                outbox.add_end(context.span_id)
            outbox.add_span(*self._relay.span_fields.of(span))
        elif self._relay.is_here():
            self._relay.put_span(*self._relay.span_fields.of(span))
        else:
            self._relay.ordinary_span_processor().on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._relay.flush("traces", timeout_millis / 1000)

    def shutdown(self) -> None:
        self.force_flush()


class LogRelay(LogRecordProcessor):
    """Encodes a log record at once."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        outbox = self._relay.outbox()
        if outbox is None and not self._relay.is_here():
            self._relay.ordinary_log_processor().on_emit(log_record)
            return
        fields = self._relay.log_fields.of(self._readable(log_record))
        if outbox is not None:
            outbox.add_log(*fields)
        else:
            self._relay.put_log(*fields)

    @staticmethod
    def _readable(record: Any) -> Any:
        from opentelemetry.sdk._logs import ReadableLogRecord

        return ReadableLogRecord(
            log_record=record.log_record,
            resource=record.resource,
            instrumentation_scope=record.instrumentation_scope,
            limits=record.limits,
        )

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._relay.flush("logs", timeout_millis / 1000)

    def shutdown(self) -> None:
        self.force_flush()
