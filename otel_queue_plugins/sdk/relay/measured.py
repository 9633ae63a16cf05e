"""Measurements of a child, until they are handed over: which series there are, and their values."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.trace import SpanContext

COUNTER, UP_DOWN, HISTOGRAM, GAUGE, SENT, CONSUMED = range(6)
_SUMS: Final = frozenset({COUNTER, UP_DOWN, SENT, CONSUMED})

MOST_SERIES: Final = 4096
_FORMAT: Final = 2  # of marshal; later ones look for repetitions, which takes longer


Scope = tuple[str, str | None, str | None, bytes]
"""Name, version, schema URL, and attributes as `marshal` writes them."""


class Instrument(NamedTuple):
    """What the process that exports needs to make the same one.

    `buckets` are the advised boundaries.
    """

    kind: int
    scope: Scope
    name: str
    unit: str
    description: str
    buckets: tuple[float, ...] | None


class Series:
    """One instrument with one set of attributes.

    `is_defined` once the process that exports was told what its number stands for.
    """

    __slots__ = ("attributes", "instrument", "is_defined", "number")

    def __init__(
        self, number: int, instrument: Instrument, attributes: Mapping[str, Any] | None
    ) -> None:
        self.number = number
        self.instrument = instrument
        self.attributes = attributes
        self.is_defined = False

    def definition(self) -> tuple[int, tuple[Any, ...], Mapping[str, Any] | None]:
        """What the reader has to know; from now on the number is enough."""
        self.is_defined = True
        return self.number, tuple(self.instrument), _keyed(self.attributes)[0]


Measurement = tuple[Series, float, SpanContext | None]


class AllSeries:
    """The series of a process, found by instrument and attributes.

    At most 4,096; then all begin anew, and the reader is to forget those before.
    """

    def __init__(self) -> None:
        self._of_lasting: dict[tuple[int, int], Series] = {}
        self._of_any: dict[tuple[Instrument, bytes], Series] = {}
        self._next = 0

    def of_lasting(self, instrument: Instrument, attributes: Mapping[str, Any]) -> Series:
        """For attributes that live long and do not change: they are known by identity."""
        key = (id(instrument), id(attributes))
        found = self._of_lasting.get(key)
        if found is None:
            found = self._of_lasting[key] = self._new(instrument, attributes)
        return found

    def of(self, instrument: Instrument, attributes: Mapping[str, Any] | None) -> Series:
        """For any attributes."""
        if instrument.kind == GAUGE and attributes:
            # Of one series for the SDK, the last value counts: it may not be two here.
            attributes = in_order(attributes)
        clean, key = _keyed(attributes)
        found = self._of_any.get((instrument, key))
        if found is None:
            made = self._new(instrument, clean)
            found = self._of_any[instrument, key] = made
        return found

    def _new(self, instrument: Instrument, attributes: Mapping[str, Any] | None) -> Series:
        if len(self._of_lasting) + len(self._of_any) >= MOST_SERIES:
            self._of_lasting.clear()
            self._of_any.clear()
        self._next += 1
        return Series(self._next, instrument, attributes)


def in_order(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same by name: their order makes no other series."""
    return dict(sorted((attributes or {}).items(), key=lambda pair: str(pair[0])))


def _keyed(attributes: Mapping[str, Any] | None) -> tuple[Mapping[str, Any] | None, bytes]:
    """Attributes that can be handed over, and what they are known by, types included."""
    if not attributes:
        return attributes, b"" if attributes is None else b"{}"
    try:
        plain = attributes if type(attributes) is dict else dict(attributes)
        key = marshal.dumps(plain, _FORMAT)
    except (ValueError, TypeError):
        plain = {str(name): _plain(value) for name, value in dict(attributes).items()}
        return plain, marshal.dumps(plain, _FORMAT)
    # A copy: the caller may go on to use the dict for something else.
    return dict(plain), key


_AS_BASE: Final[dict[type, Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: bytes,
}


def _plain(value: object) -> object:
    """What of a value can be handed over: subclasses, as of an Enum, as what they are based on."""
    if value is None or isinstance(value, bool):
        return value
    for base in (int, float, str, bytes):
        if isinstance(value, base):
            return _AS_BASE[base](value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable):
        return tuple(_plain(each) for each in value)
    return str(value)


def merged(measurements: list[Measurement]) -> list[Measurement]:
    """The same in fewer: sums are added up, and of a gauge only the last value counts.

    Of what was added up the last one stays apart, for its exemplar.
    """
    sums: dict[Series, float] = {}
    last: dict[Series, Measurement] = {}
    kept: list[Measurement] = []
    for each in measurements:
        series = each[0]
        kind = series.instrument.kind
        if kind == HISTOGRAM:
            kept.append(each)
            continue
        before = last.get(series)
        if before is not None and kind in _SUMS:
            sums[series] = sums.get(series, 0) + before[1]
        last[series] = each
    kept.extend((series, total, None) for series, total in sums.items())
    kept.extend(last.values())
    return kept


def squeezed(
    measurements: list[Measurement], totals: dict[Series, tuple[int, float]]
) -> list[Measurement]:
    """As `merged`, with the values of histograms added to `totals`, which has count and sum.

    For a reader that has not read for so long that there is no room any more: count and sum stay
    true, the distribution does not.
    """
    rest: list[Measurement] = []
    for each in merged(measurements):
        series, value, _ = each
        if series.instrument.kind == HISTOGRAM:
            count, total = totals.get(series, (0, 0.0))
            totals[series] = count + 1, total + value
        else:
            rest.append(each)
    return rest
