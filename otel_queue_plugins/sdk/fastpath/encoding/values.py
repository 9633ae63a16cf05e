"""Encode values of attributes and bodies of log records: AnyValue and KeyValue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_queue_plugins.sdk.fastpath.encoding.wire import (
    DELIMITED,
    FIXED64,
    VARINT,
    delimited,
    double,
    field,
    int64,
    tag,
)

STRING, INT, DOUBLE = tag(1, DELIMITED), tag(3, VARINT), tag(4, FIXED64)
VALUE = tag(2, DELIMITED)
_BOOL = tag(2, VARINT)
_ARRAY, _MAP, _BYTES = 5, 6, 7
_NESTED = (tuple, list, dict)
_DEEPEST = 16


class UnknownError(Exception):
    """A value or an object that must be left to the official encoder."""


def any_value(value: object, depth: int = 0) -> bytes:
    """Encode an AnyValue, without tag and length.

    `depth` is the number of lists and mappings around it. Raises UnknownError, or any other error,
    for what must be left to the official encoder.
    """
    encode = _BY_TYPE.get(type(value))
    if encode is None:
        encode = next((encoder for base, encoder in _BASES if isinstance(value, base)), None)
    if encode is not None:
        return encode(value)
    return _nested(value, depth)


def key_value(key: str, value: object, depth: int = 0) -> bytes:
    """Encode a KeyValue, without tag and length."""
    return key_field(key) + VALUE + delimited(any_value(value, depth))


def key_field(key: str) -> bytes:
    """Encode the first field of a KeyValue."""
    return field(1, str.encode(key))


def _text(value: str) -> bytes:
    return STRING + delimited(str.encode(value))


def _int(value: int) -> bytes:
    return INT + int64(int.__index__(value))


def _bool(value: bool) -> bytes:  # noqa: FBT001
    return _BOOL + (b"\1" if value else b"\0")


def _double(value: float) -> bytes:
    return DOUBLE + double(value)


def _bytes(value: bytes) -> bytes:
    return field(_BYTES, value)


def _nested(value: Any, depth: int) -> bytes:
    """Encode a list or a mapping, nested no deeper than a protobuf message may be."""
    kind = type(value)
    if depth == _DEEPEST or kind not in _NESTED:
        raise UnknownError(kind)
    if kind is dict:
        pairs = [field(1, key_value(str(key), each, depth + 1)) for key, each in value.items()]
        return field(_MAP, b"".join(pairs))
    return field(_ARRAY, b"".join([field(1, any_value(each, depth + 1)) for each in value]))


_BY_TYPE: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _none: b"",
    bool: _bool,
    str: _text,
    int: _int,
    float: _double,
    bytes: _bytes,
}
# For subclasses, such as the members of an enumeration.
_BASES: tuple[tuple[type, Callable[[Any], bytes]], ...] = (
    (str, _text),
    (int, _int),
    (float, _double),
)
