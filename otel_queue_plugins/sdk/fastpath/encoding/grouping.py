"""Group encoded records by resource, and then by instrumentation scope, as OTLP wants it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from otel_queue_plugins.sdk.fastpath.encoding.values import UnknownError
from otel_queue_plugins.sdk.fastpath.encoding.wire import DELIMITED, delimited, tag

_RESOURCE, _SCOPE = tag(1, DELIMITED), tag(2, DELIMITED)
_MOST_ORIGINS = 128
_MOST_BYTES = 1 << 16

OfficialSpans = Callable[[list[ReadableSpan]], Any]


class _Origin(NamedTuple):
    """A resource or a scope. Equal ones have the same number. `fields` is its encoded form."""

    source: object
    number: int
    fields: bytes


class Origins:
    """The resources and scopes seen so far. Each is encoded once, by the official encoder.

    They are found by identity, which is safe because they are kept alive here and never change.
    """

    def __init__(self, official: OfficialSpans) -> None:
        self._official = official
        self._seen: dict[int, _Origin] = {}
        self._numbers: dict[object, int] = {}
        self._next_number = count()
        self._bytes = 0

    def is_full(self) -> bool:
        """Whether the bounds are reached, so that a new `Origins` has to take its place."""
        return len(self._seen) >= _MOST_ORIGINS or self._bytes > _MOST_BYTES

    def of_resource(self, resource: object) -> _Origin:
        """The origin of a Resource. Raises UnknownError for another class."""
        if type(resource) is not Resource:
            raise UnknownError(resource)
        return self._seen.get(id(resource)) or self._add_resource(resource)

    def of_scope(self, scope: object) -> _Origin:
        """The origin of an InstrumentationScope or None. Raises UnknownError for another class."""
        if scope is not None and type(scope) is not InstrumentationScope:
            raise UnknownError(scope)
        return self._seen.get(id(scope)) or self._add_scope(scope)

    def _add_resource(self, resource: Resource) -> _Origin:
        message = self._example(resource, None)
        message.ClearField("scope_spans")
        return self._keep(resource, message.SerializeToString())

    def _add_scope(self, scope: InstrumentationScope | None) -> _Origin:
        message = self._example(Resource.get_empty(), scope).scope_spans[0]
        message.ClearField("spans")
        return self._keep(scope, message.SerializeToString())

    def _keep(self, source: object, fields: bytes) -> _Origin:
        number = self._numbers.setdefault(source, next(self._next_number))
        self._seen[id(source)] = origin = _Origin(source, number, fields)
        self._bytes += len(fields)
        return origin

    def _example(self, resource: Resource, scope: InstrumentationScope | None) -> Any:
        span = ReadableSpan(
            "", INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope
        )
        return self._official([span]).resource_spans[0]


class Groups:
    """The encoded records of one batch, grouped; groups have the order of their first record.

    The field numbers are those of ResourceSpans and ScopeSpans, and of ResourceLogs and ScopeLogs.
    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._resources: dict[int, tuple[bytes, dict[int, list[bytes]]]] = {}

    def at(self, resource: object, scope: object) -> list[bytes]:
        """The list of fields of one resource and scope, for the caller to append to."""
        _, number, fields = self._origins.of_resource(resource)
        if number not in self._resources:
            self._resources[number] = fields, {}
        _, scopes = self._resources[number]
        _, number, fields = self._origins.of_scope(scope)
        if number not in scopes:
            scopes[number] = [fields]
        return scopes[number]

    def request(self) -> bytes:
        """Encode all groups as one request."""
        parts: list[bytes] = []
        for fields, scopes in self._resources.values():
            inside = fields
            for each in scopes.values():
                inside += _SCOPE + delimited(b"".join(each))
            parts += _RESOURCE, delimited(inside)
        return b"".join(parts)
