"""Encode a batch of spans or log records as the bytes of an OTLP request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from otel_queue_plugins.sdk.fastpath.encoding.grouping import Groups, OfficialSpans, Origins
from otel_queue_plugins.sdk.fastpath.encoding.wire import DELIMITED, delimited, tag

_RECORD = tag(2, DELIMITED)


class Signal(NamedTuple):
    """How the records of one signal, spans or log records, are encoded.

    Args:
        record: The class of the records.
        origin: Gives the resource and the instrumentation scope of a record.
        encode: Encodes a record, without tag and length.
        official: The official encoder of a batch; returns a protobuf message.
        records: Gives the encoded records in such a message.
    """

    record: type
    origin: Callable[[Any], tuple[object, object]]
    encode: Callable[[Any], bytes]
    official: Callable[[Sequence[Any]], Any]
    records: Callable[[Any], Sequence[Any]]


class Encoder:
    """Encodes the spans or the log records of any library.

    What it does not know is left to the official encoder, with its result: a value that cannot be
    encoded at all raises there, or is left out and logged.
    """

    def __init__(self, signal: Signal, official_spans: OfficialSpans) -> None:
        self.signal = signal
        self._encode = signal.encode
        self._official_spans = official_spans
        self._origins = Origins(official_spans)

    def request(self, batch: Sequence[Any]) -> bytes:
        """Encode `batch` as a request. Several requests in a row are a valid request, too."""
        if not {self.signal.record}.issuperset(map(type, batch)):
            return self._encode_officially(batch)
        origin, groups = self.signal.origin, Groups(self._current_origins())
        fields: list[bytes] = []
        last_resource: object = fields  # equal to no resource
        last_scope: object = fields
        for record in batch:
            resource, scope = origin(record)
            if resource is not last_resource or scope is not last_scope:
                try:
                    fields = groups.at(resource, scope)
                except Exception:  # noqa: BLE001 - a class or a value that we do not know
                    return self._encode_officially(batch)
                last_resource, last_scope = resource, scope
            fields.append(self.field(record))
        return groups.request()

    def field(self, record: Any) -> bytes:
        """Encode `record` as a field of ScopeSpans or ScopeLogs."""
        try:
            content = self._encode(record)
        except Exception:  # noqa: BLE001 - as above
            (message,) = self.signal.records(self.signal.official([record]))
            content = message.SerializePartialToString()
        return _RECORD + delimited(content)

    def _encode_officially(self, batch: Sequence[Any]) -> bytes:
        content: bytes = self.signal.official(batch).SerializePartialToString()
        return content

    def _current_origins(self) -> Origins:
        if self._origins.is_full():
            self._origins = Origins(self._official_spans)
        return self._origins
