"""Requests of OTLP, as bytes, from what the SDK hands to an exporter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from otel_queue_plugins.sdk.fastpath.encoding.grouping import Groups, OfficialSpans, Origins
from otel_queue_plugins.sdk.fastpath.encoding.wire import DELIMITED, delimited, tag

_RECORD = tag(2, DELIMITED)


class Signal(NamedTuple):
    """Spans or log records.

    They are instances of `record`. `origin` gives the resource and the scope of one, `encode` its
    content, `official` the message for a batch of them, and `records` those in that message.
    """

    record: type
    origin: Callable[[Any], tuple[object, object]]
    encode: Callable[[Any], bytes]
    official: Callable[[Sequence[Any]], Any]
    records: Callable[[Any], Sequence[Any]]


class Encoder:
    """Encodes the spans or the log records of anybody.

    What we do not know is left to the official encoder, and so is what nobody can encode: that
    raises, or is left out and logged, as it always was.
    """

    def __init__(self, signal: Signal, official_spans: OfficialSpans) -> None:
        self.signal = signal
        self._encode = signal.encode
        self._official_spans = official_spans
        self._origins = Origins(official_spans)

    def request(self, batch: Sequence[Any]) -> bytes:
        """The request for `batch`. Requests that are joined are a request, too."""
        if not {self.signal.record}.issuperset(map(type, batch)):
            return self._officially(batch)
        origin, groups = self.signal.origin, Groups(self._fresh_origins())
        fields: list[bytes] = []
        last_resource: object = fields  # which is none
        last_scope: object = fields
        for record in batch:
            resource, scope = origin(record)
            if resource is not last_resource or scope is not last_scope:
                try:
                    fields = groups.at(resource, scope)
                except Exception:  # noqa: BLE001 - of a class or with a value that we do not know
                    return self._officially(batch)
                last_resource, last_scope = resource, scope
            fields.append(self.field(record))
        return groups.request()

    def field(self, record: Any) -> bytes:
        """The field for `record` in the ScopeSpans or ScopeLogs that it belongs to."""
        try:
            content = self._encode(record)
        except Exception:  # noqa: BLE001 - as above
            (message,) = self.signal.records(self.signal.official([record]))
            content = message.SerializePartialToString()
        return _RECORD + delimited(content)

    def _officially(self, batch: Sequence[Any]) -> bytes:
        content: bytes = self.signal.official(batch).SerializePartialToString()
        return content

    def _fresh_origins(self) -> Origins:
        if self._origins.is_full():
            self._origins = Origins(self._official_spans)
        return self._origins
