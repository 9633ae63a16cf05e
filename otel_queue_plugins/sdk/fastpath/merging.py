"""Record measurements of other processes: of an earlier time, and many of one series at once."""

from __future__ import annotations

# ruff: noqa: SLF001 - what a reader keeps is private
from bisect import bisect_left
from collections import Counter
from itertools import compress, count
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_queue_plugins.sdk.fastpath.gate import UnexpectedSdkError
from otel_queue_plugins.sdk.fastpath.histograms import has_buckets
from otel_queue_plugins.sdk.fastpath.unpatched import check_unpatched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from opentelemetry.context import Context

    from otel_queue_plugins.sdk.fastpath import Where

_FIELDS = ["value", "time_unix_nano", "instrument", "context", "attributes"]


def fast_merge(instrument: Any) -> _Merge:
    """Return what records with `instrument`.

    Raises UnexpectedSdkError for an instrument that is not the SDK's own.
    """
    from opentelemetry.sdk.metrics._internal import _view_instrument_match as matching
    from opentelemetry.sdk.metrics._internal.measurement import Measurement
    from opentelemetry.sdk.metrics._internal.measurement_consumer import (
        SynchronousMeasurementConsumer as Consumer,
    )

    kind = type(instrument)
    if not kind.__module__.startswith("opentelemetry.sdk."):
        raise UnexpectedSdkError(f"the instrument is a {kind.__qualname__}")
    if type(instrument._measurement_consumer) is not Consumer:
        raise UnexpectedSdkError("measurements of the instrument go to somebody else")
    if list(Measurement.__dataclass_fields__) != _FIELDS:
        raise UnexpectedSdkError("measurements of this SDK have other parts")
    check_unpatched(kind, "_is_enabled")
    check_unpatched(Consumer, "consume_measurement")
    check_unpatched(matching._ViewInstrumentMatch, "consume_measurement")
    return _Merge(instrument, Measurement)


class _Merge:
    """Into one instrument, whatever reads it. Values have been checked before."""

    def __init__(self, instrument: Any, measurement_class: type[Any]) -> None:
        self._instrument = instrument
        self._consumer = instrument._measurement_consumer
        self._class = measurement_class

    def record(self, value: float, attributes: Any, context: Context, at_ns: int) -> None:
        """One, that was measured at that time."""
        if self._instrument._is_enabled():
            measurement = self._class(value, at_ns, self._instrument, context, attributes)
            self._consumer.consume_measurement(measurement)

    def merge(
        self, values: Sequence[float], attributes: Any, marks: Sequence[int], where: Where
    ) -> None:
        """Many for a histogram."""
        if not self._instrument._is_enabled():
            return
        clean = self._class(0, 0, self._instrument, None, attributes).attributes or {}
        batch = _Batch(values, clean, marks, where, self._samples)
        for match in self._matches():
            names = match._view._attribute_keys
            kept = {k: v for k, v in clean.items() if names is None or k in names}
            if not batch.put(match, kept, 0):
                self._add(match, batch, [0])  # that makes the series
                if not batch.put(match, kept, 1):
                    self._add(match, batch, range(1, len(values)))

    def _matches(self) -> Iterator[Any]:
        for storage in self._consumer._reader_storages.values():
            yield from storage._get_or_init_view_instrument_match(self._instrument)

    def _samples(self, *measured: Any) -> bool:
        return bool(self._consumer._sdk_config.exemplar_filter.should_sample(*measured))

    def _add(self, match: Any, batch: _Batch, indexes: Iterable[int]) -> None:
        for index in indexes:
            value, (context, at_ns) = batch.values[index], batch.where(index)
            made = self._class(value, at_ns, self._instrument, context, batch.attributes)
            match.consume_measurement(
                made, self._samples(value, at_ns, made.attributes, made.context)
            )


class _Batch(NamedTuple):
    """Values of one series, and what is asked for those that may be exemplars."""

    values: Sequence[float]
    attributes: Any
    marks: Sequence[int]
    where: Where
    samples: Callable[..., bool]

    def put(self, match: Any, kept: dict[str, Any], first: int) -> bool:
        """Add the values from `first` on to the series with attributes `kept`.

        False if there is none, or if it does not count in buckets.
        """
        key = _key(kept)
        with match._lock:  # or a reader might take the series away meanwhile
            found = match._attributes_aggregation.get(key)
            if found is None or not has_buckets(found):
                return False
            self._offer(found, _into_buckets(found, self.values[first:], self.marks[first:]), first)
        return True

    def _offer(self, into: Any, indexes: Iterable[int], first: int) -> None:
        for index in sorted(indexes):
            value, (context, at_ns) = self.values[index + first], self.where(index + first)
            if self.samples(value, at_ns, self.attributes, context):
                into._reservoir.offer(value, at_ns, self.attributes, context)


def _key(attributes: dict[str, Any]) -> object:
    """What a series is known by; up to 1.44 of the SDK that is the set of its attributes."""
    from opentelemetry.sdk.metrics._internal import _view_instrument_match as matching

    hashed = getattr(matching, "_hash_attributes", None)
    return frozenset(attributes.items()) if hashed is None else hashed(attributes)


def _into_buckets(into: Any, values: Sequence[float], marks: Sequence[int]) -> Iterable[int]:
    """The last marked value of each bucket, by its index: more exemplars would not be kept."""
    if not values:
        return ()
    boundaries = into._boundaries
    buckets = [bisect_left(boundaries, value) for value in values]
    with into._lock:
        if into._value is None:
            into._value = into._get_empty_bucket_counts()
        for bucket, number in Counter(buckets).items():
            into._value[bucket] += number
        into._sum += sum(values)
        if into._record_min_max:
            into._min = min(into._min, *values)
            into._max = max(into._max, *values)
    return dict(compress(zip(buckets, count()), marks)).values()
