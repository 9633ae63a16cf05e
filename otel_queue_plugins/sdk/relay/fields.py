"""Spans and log records as the bytes that a request consists of: a scope, and a field for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder
from otel_queue_plugins.sdk.fastpath.encoding.grouping import Origins
from otel_queue_plugins.sdk.fastpath.encoding.wire import field

_RESOURCES, _SCOPES, _RECORDS = 1, 2, 2
_MOST_SCOPES: Final = 256


class Fields:
    """Encodes one signal. Raises what cannot be encoded."""

    def __init__(self, encoder: Encoder | None, official: Callable[[Any], Any]) -> None:
        self._encoder = encoder
        self._official = official
        self._scopes: dict[int, tuple[object, bytes]] = {}

    def of(self, record: Any) -> tuple[bytes, bytes]:
        """The scope of a span or log record, encoded, and the field that follows it."""
        scope = record.instrumentation_scope
        known = self._scopes.get(id(scope))
        if known is None:
            known = self._learn(scope, record)
        if self._encoder is not None:
            return known[1], self._encoder.field(record)
        return known[1], field(
            _RECORDS, _only(_only(_only(self._official([record])))).SerializePartialToString()
        )

    def _learn(self, scope: object, record: Any) -> tuple[object, bytes]:
        """Known by identity, for as long as it is held here."""
        message = _only(_only(self._official([record])))
        message.ClearField(_last_field(message))
        if len(self._scopes) >= _MOST_SCOPES:
            self._scopes.clear()
        known = self._scopes[id(scope)] = (scope, message.SerializePartialToString())
        return known


def request(batch: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """The request for fields, each after its resource and its scope."""
    grouped: dict[bytes, dict[bytes, list[bytes]]] = {}
    for resource, scope, content in batch:
        grouped.setdefault(resource, {}).setdefault(scope, [scope]).append(content)
    return b"".join(
        field(
            _RESOURCES,
            own + b"".join(field(_SCOPES, b"".join(inside)) for inside in scopes.values()),
        )
        for own, scopes in grouped.items()
    )


def resource_bytes(resource: Any, official: Callable[[Any], Any]) -> bytes:
    """A resource as it begins a ResourceSpans, or a ResourceLogs, which have the same numbers."""
    return Origins(official).of_resource(resource).fields


def _only(message: Any) -> Any:
    """The one message in the last field: of a request, a resource, a scope."""
    return getattr(message, _last_field(message))[0]


def _last_field(message: Any) -> str:
    """The name of the repeated field that holds what is inside; the schema URL comes after it."""
    name: str = next(
        each.name
        for each, _ in message.ListFields()
        if each.name.startswith(("resource_", "scope_")) or each.name in {"spans", "log_records"}
    )
    return name
