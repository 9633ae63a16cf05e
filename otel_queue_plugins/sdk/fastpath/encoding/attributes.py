"""Attributes: pairs of a key and a value, most of which come again and again."""

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
    """Encodes attributes, whatever they belong to."""

    def __init__(self, budget: Budget) -> None:
        self._keys = _Keys(budget)

    def encode(self, attributes: Any, tag: bytes, dropped_tag: bytes) -> bytes:
        """A field for each pair, and one for the number of those that were dropped.

        Raises what cannot be encoded, or must be left to others.
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
    """The values of each key."""

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
    """By type: what gives the KeyValue, after its length, for a value of that type.

    By exact type, because True, 1 and 1.0 are equal.
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
    """Texts. What stands before one depends on its length alone."""

    __slots__ = ("_before", "_key")

    def __init__(self, key: bytes, budget: Budget) -> None:
        super().__init__(budget, _MOST_VALUES)
        self._key = key
        self._before: dict[int, bytes] = {}

    def encode(self, value: str) -> bytes:
        text = value.encode()
        return (self._before.get(len(text)) or self._find_before(value, len(text))) + text

    def _find_before(self, value: str, size: int) -> bytes:
        pair = _pair(self._key, value)
        before = pair[: len(pair) - size]
        if size <= LONGEST:
            self._before[size] = before
            self._budget.spend(before)
        return before


class _Scalars(Cache[int]):
    """Whole numbers, or truth values."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes, budget: Budget) -> None:
        super().__init__(budget, _MOST_VALUES)
        self._key = key

    def encode(self, value: int) -> bytes:
        return _pair(self._key, value)


class _Doubles:
    """Measured, so hardly ever the same twice."""

    __slots__ = ("_before",)

    def __init__(self, key: bytes) -> None:
        self._before = _pair(key, 0.0)[: -len(double(0.0))]

    def __getitem__(self, value: float) -> bytes:
        return self._before + double(value)


class _Others:
    """Encoded anew each time."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __getitem__(self, value: object) -> bytes:
        return _pair(self._key, value)


def _pair(key: bytes, value: object) -> bytes:
    return delimited(key + VALUE + delimited(any_value(value)))
