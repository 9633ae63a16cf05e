"""Encode attributes, and keep the bytes of keys and values that come often."""

from __future__ import annotations

# ruff: noqa: SLF001 - attributes have no other way out that copies nothing
from types import MappingProxyType
from typing import Any

from opentelemetry.attributes import BoundedAttributes

from otel_queue_plugins.sdk.fastpath.encoding.caching import LONGEST, Budget, Cache
from otel_queue_plugins.sdk.fastpath.encoding.values import (
    VALUE,
    UnknownError,
    any_value,
    key_field,
)
from otel_queue_plugins.sdk.fastpath.encoding.wire import delimited, double, varint

_MOST_VALUES = 64
_LONGEST_KEY = 128
_PLAIN = (dict, MappingProxyType, type(None))


class AttributeEncoder:
    """Encodes the attributes of spans, events, links and log records."""

    def __init__(self, budget: Budget) -> None:
        self._keys = _Keys(budget)

    def encode(self, attributes: Any, tag: bytes, dropped_tag: bytes) -> bytes:
        """Encode one field for each pair, and one for the number of dropped attributes, if any.

        Raises UnknownError, or any other error, for what must be left to the official encoder.
        """
        dropped = 0
        if type(attributes) is BoundedAttributes:
            dropped, attributes = attributes.dropped, attributes._dict
        elif type(attributes) not in _PLAIN:
            raise UnknownError(type(attributes))
        encoded = b""
        if attributes:
            keys = self._keys
            pairs = [keys[key][type(value)][value] for key, value in attributes.items()]
            encoded = tag + tag.join(pairs)
        return encoded + dropped_tag + varint(dropped) if dropped else encoded


class _Keys(dict[str, "_Values"]):
    """The encoded values, by key."""

    __slots__ = ("_budget",)

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget
        budget.covers(self)

    def __missing__(self, key: str) -> _Values:
        values = _Values(key_field(key), self._budget)
        if len(key) <= _LONGEST_KEY:
            self[key] = values
            self._budget.spend(key, values)
        return values


class _Values(dict[type, Any]):
    """For each exact type a mapping from value to the KeyValue, with its length before it.

    Types are told apart because True, 1 and 1.0 are equal.
    """

    __slots__ = ("_budget", "_key")

    def __init__(self, key: bytes, budget: Budget) -> None:
        super().__init__()
        self._key = key
        self._budget = budget

    def __missing__(self, kind: type) -> Any:
        values: Any
        if kind is str:
            values = _Texts(self._key, self._budget)
        elif kind is int or kind is bool:
            values = _Scalars(self._key, self._budget)
        elif kind is float:
            values = _Doubles(self._key)
        else:
            return _Others(self._key)
        self[kind] = values
        self._budget.spend(values)
        return values


class _Texts(Cache[str]):
    """Strings. The bytes before one depend on its length alone, and are kept by length."""

    __slots__ = ("_key", "_prefixes")

    def __init__(self, key: bytes, budget: Budget) -> None:
        super().__init__(budget, _MOST_VALUES)
        self._key = key
        self._prefixes: dict[int, bytes] = {}

    def encode(self, value: str) -> bytes:
        text = value.encode()
        return (self._prefixes.get(len(text)) or self._make_prefix(value, len(text))) + text

    def _make_prefix(self, value: str, size: int) -> bytes:
        pair = _pair(self._key, value)
        prefix = pair[: len(pair) - size]
        if size <= LONGEST:
            self._prefixes[size] = prefix
            self._budget.spend(prefix)
        return prefix


class _Scalars(Cache[int]):
    """Integers, or booleans."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes, budget: Budget) -> None:
        super().__init__(budget, _MOST_VALUES)
        self._key = key

    def encode(self, value: int) -> bytes:
        return _pair(self._key, value)


class _Doubles:
    """Floating-point numbers: measured values, which hardly ever repeat. None is kept."""

    __slots__ = ("_prefix",)

    def __init__(self, key: bytes) -> None:
        self._prefix = _pair(key, 0.0)[: -len(double(0.0))]

    def __getitem__(self, value: float) -> bytes:
        return self._prefix + double(value)


class _Others:
    """Values of all other types. None is kept."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __getitem__(self, value: object) -> bytes:
        return _pair(self._key, value)


def _pair(key: bytes, value: object) -> bytes:
    return delimited(key + VALUE + delimited(any_value(value)))
