"""Write Protobuf's wire format, as far as OTLP needs it.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from struct import Struct

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5

_ONE_BYTE = tuple(bytes((number,)) for number in range(0x80))
_MOST = 1 << 64
_SIGNED = range(-(1 << 63), 1 << 63)

fixed64 = Struct("<Q").pack
double = Struct("<d").pack
fixed32 = Struct("<I").pack


def varint(number: int) -> bytes:
    """Encode a number, which must not be negative."""
    if number < len(_ONE_BYTE):
        return _ONE_BYTE[number]
    groups = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - the seven bits of a group
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def int64(number: int) -> bytes:
    """Encode a number, which may be negative. Raises OverflowError above 64 bits."""
    if number not in _SIGNED:
        raise OverflowError(number)
    return varint(number % _MOST)


def tag(field: int, kind: int) -> bytes:
    """Encode the tag of a field; `kind` is one of the wire types above."""
    return varint(field << 3 | kind)


def delimited(content: bytes) -> bytes:
    """Encode `content` with its length before it."""
    return varint(len(content)) + content


def field(number: int, content: bytes) -> bytes:
    """Encode a field that holds a string, bytes or a message."""
    return tag(number, DELIMITED) + delimited(content)
