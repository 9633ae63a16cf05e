"""Measurements on their way from one process to another.

Those of one task are mostly of the same series as those of the task before. So what they are of,
the shape, is one piece of bytes that the reader knows already, and the rest is a few numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from struct import Struct, iter_unpack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.relay.measured import Measurement, Series

Packed = tuple[bytes, bytes]
"""The shape; the contexts that it points to and the values."""

_CONTEXT: Final = Struct(">QQQB")  # trace in two halves, span, flags
_HALF: Final = (1 << 64) - 1
_EXACT: Final = 1 << 53  # up to here an integer is the same as a float
_SAMPLED: Final = bytes(flags & 1 for flags in range(256))
_NOWHERE: Final = -1
_FLOAT, _INTEGER, PARTS = range(3)


def packed(measurements: Sequence[Measurement], defined: list[Any]) -> Packed:
    """`measurements` as they are handed over; `defined` gets what the reader does not know yet."""
    shape, values, contexts = array("i"), array("d"), b""
    places: dict[int, int] = {}
    for series, value, span in measurements:
        place = _NOWHERE
        if span is not None:
            found = places.get(id(span))
            if found is None:
                found = places[id(span)] = len(places)
                high, low = span.trace_id >> 64, span.trace_id & _HALF
                contexts += _CONTEXT.pack(high, low, span.span_id, span.trace_flags & 0xFF)
            place = found
        number = number_of(series, defined)
        if type(value) is float:
            shape.extend((number, place, _FLOAT))
            values.append(value)
        else:
            _add_integer(shape, values, (number, place), int(value))
    shape.append(len(places))
    return shape.tobytes(), contexts + values.tobytes()


def _add_integer(shape: Any, values: Any, about: tuple[int, int], value: int) -> None:
    """A float has no room for a large one: that is in two parts."""
    if -_EXACT < value < _EXACT:
        shape.extend((*about, _INTEGER))
        values.append(value)
    else:
        shape.extend((*about, PARTS, *about, PARTS))
        values.extend((value >> 32, value & 0xFFFFFFFF))


def number_of(series: Series, defined: list[Any]) -> int:
    """What `series` is called; the reader is told in `defined` if it does not know."""
    if not series.is_defined:
        defined.append(series.definition())
    return series.number


class Places(NamedTuple):
    """Where and when the values of one series were measured, in messages of one shape."""

    rows: bytes
    width: int
    offset: int  # of the context in each row; less than 0 if it does not count
    times: Sequence[int]

    def sampled(self) -> bytes:
        """For each value, whether in a sampled span."""
        if self.offset < 0:
            return bytes(len(self.times))
        flags = self.offset + _CONTEXT.size - 1
        return self.rows[flags :: self.width].translate(_SAMPLED)

    def context(self, index: int) -> tuple[int, int, int]:
        """Trace, span and flags; all 0 if they do not count."""
        if self.offset < 0:
            return 0, 0, 0
        start = self.offset + index * self.width
        high, low, span, flags = _CONTEXT.unpack_from(self.rows, start)
        return high << 64 | low, span, flags


Column = tuple[int, Sequence[float], Places]
"""Number and values of a series, and their places."""


def columns(shape: bytes, rows: list[bytes], times: list[int]) -> Iterator[Column]:
    """The series in messages of one shape, and when each message came."""
    *steps, contexts = array("i", shape)
    joined, width, size = b"".join(rows), len(rows[0]), contexts * _CONTEXT.size
    values = zip(*iter_unpack(f"={size}x{len(steps) // 3}d", joined), strict=True)
    parts: dict[int, Sequence[float]] = {}
    for number, place, kind, column in zip(
        steps[::3], steps[1::3], steps[2::3], values, strict=True
    ):
        offset = _NOWHERE if place < 0 else place * _CONTEXT.size
        of_all = Places(joined, width, offset, times)
        if kind == _FLOAT:
            yield number, column, of_all
        elif kind == _INTEGER:
            yield number, [int(value) for value in column], of_all
        elif number not in parts:
            parts[number] = column
        else:
            high = parts.pop(number)
            both = zip(high, column, strict=True)
            yield number, [(int(a) << 32) + int(b) for a, b in both], of_all
