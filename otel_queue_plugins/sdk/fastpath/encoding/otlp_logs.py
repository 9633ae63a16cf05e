"""Encode the SDK's log records as OTLP's message LogRecord.

opentelemetry/proto/logs/v1/logs.proto in github.com/open-telemetry/opentelemetry-proto
"""

from __future__ import annotations

from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber

from otel_queue_plugins.sdk.fastpath.encoding.attributes import AttributeEncoder
from otel_queue_plugins.sdk.fastpath.encoding.values import UnknownError, any_value
from otel_queue_plugins.sdk.fastpath.encoding.wire import (
    DELIMITED,
    FIXED32,
    FIXED64,
    VARINT,
    delimited,
    field,
    fixed32,
    fixed64,
    tag,
    varint,
)

_TIME, _OBSERVED_TIME = tag(1, FIXED64), tag(11, FIXED64)
_BODY, _FLAGS = tag(5, DELIMITED), tag(8, FIXED32)
_ATTRIBUTES, _DROPPED_ATTRIBUTES = tag(6, DELIMITED), tag(7, VARINT)


class LogRecordEncoder:
    """Encodes log records.

    `encode` raises UnknownError, or any other error, for what must be left to the official encoder.
    """

    def __init__(self, attributes: AttributeEncoder) -> None:
        self._attributes = attributes.encode

    def encode(self, readable: Any) -> bytes:
        """Encode one log record, without tag and length."""
        record = readable.log_record
        if type(record) is not LogRecord:
            raise UnknownError(record)
        time, observed = record.timestamp, record.observed_timestamp
        severity_text, event_name = record.severity_text, record.event_name
        if type(observed) is not int or (time is not None and type(time) is not int):
            raise UnknownError((time, observed))
        return b"".join(
            (
                b"" if time is None else _TIME + fixed64(time),
                _OBSERVED_TIME + fixed64(observed),
                _severity(record.severity_number),
                b"" if severity_text is None else field(3, str.encode(severity_text)),
                _BODY + delimited(any_value(record.body)),
                self._attributes(record.attributes, _ATTRIBUTES, _DROPPED_ATTRIBUTES),
                _FLAGS + fixed32(int(record.trace_flags)),
                b"" if record.trace_id == 0 else field(9, record.trace_id.to_bytes(16, "big")),
                b"" if record.span_id == 0 else field(10, record.span_id.to_bytes(8, "big")),
                b"" if event_name is None else field(12, str.encode(event_name)),
            )
        )


def _severity(number: Any) -> bytes:
    if number is None:
        return b""
    if type(number) is not SeverityNumber:
        raise UnknownError(number)
    return tag(2, VARINT) + varint(number.value)
