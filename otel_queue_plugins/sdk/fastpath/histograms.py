"""`Histogram.record` for attributes that were seen before: no cleaning, no hashing of them."""

from __future__ import annotations

# ruff: noqa: SLF001 - what a reader keeps is private
import math
from bisect import bisect_left
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import get_current
from opentelemetry.trace import TraceFlags

from otel_queue_plugins.core.api.context import span_in
from otel_queue_plugins.sdk.fastpath.gate import DifferentError
from otel_queue_plugins.sdk.fastpath.untouched import are_own, check_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.context import Context

    from otel_queue_plugins.sdk.fastpath import Record, Value

    Into = Callable[[Any, float, int, Mapping[str, Value], Context, bool], None]
    Add = tuple[Into, Any]

# Half a MiB for each histogram. With more than these in use, some are bound again and again.
_MOST_SERIES = 1024
_FIELDS = ["value", "time_unix_nano", "instrument", "context", "attributes"]


def direct(histogram: Any) -> Record:
    """`histogram.record` series by series.

    Raises DifferentError if it is not the SDK's as we know it. Versions up to 1.44 neither clean
    nor hash as much, and are left alone.
    """
    from opentelemetry.sdk.metrics._internal import _view_instrument_match as matching
    from opentelemetry.sdk.metrics._internal.instrument import _Histogram
    from opentelemetry.sdk.metrics._internal.measurement import Measurement
    from opentelemetry.sdk.metrics._internal.measurement_consumer import (
        SynchronousMeasurementConsumer as Consumer,
    )
    from opentelemetry.sdk.metrics._internal.metric_reader_storage import MetricReaderStorage

    if type(histogram) is not _Histogram or "record" in vars(histogram):
        raise DifferentError(
            f"the instrument is a {type(histogram).__qualname__} with a record of its own"
        )
    consumer: Any = histogram._measurement_consumer
    if type(consumer) is not Consumer or "consume_measurement" in vars(consumer):
        raise DifferentError(f"measurements go to a {type(consumer).__qualname__}")
    if not type(consumer._sdk_config.exemplar_filter).__module__.startswith("opentelemetry.sdk."):
        raise DifferentError("there is an exemplar filter that is not the SDK's")
    if (
        not hasattr(matching, "_hash_attributes")
        or list(Measurement.__dataclass_fields__) != _FIELDS
    ):
        raise DifferentError("measurements of this SDK are kept in another way")
    check_own(Measurement, "__post_init__")
    check_own(_Histogram, "record", "_is_enabled")
    check_own(Consumer, "consume_measurement")
    check_own(MetricReaderStorage, "consume_measurement")
    check_own(matching._ViewInstrumentMatch, "consume_measurement")
    return _Direct(histogram, consumer, Measurement).record


class _Series(NamedTuple):
    """Where measurements with attributes `given` go, while `storages` are the ones in use.

    Each of `adds` is a function and the aggregation to call it with.
    """

    given: Mapping[str, Value]
    storages: object
    attributes: Mapping[str, Value]
    should_sample: Callable[[float, int, Mapping[str, Value], Context], bool]
    adds: tuple[Add, ...]


class _Direct:
    """Records what one histogram measures."""

    def __init__(self, histogram: Any, consumer: Any, measurement_class: type[Any]) -> None:
        self._histogram = histogram
        self._consumer = consumer
        self._class = measurement_class
        self._series: dict[int, _Series] = {}

    def record(self, value: float, attributes: Mapping[str, Value], context: Context) -> None:
        """What `Histogram.record` and all that it calls do, down to the aggregations.

        Identity stands for equality of attributes: a series holds on to those it is kept under.
        Readers that come and go, in a forked child too, replace the consumer's storages and never
        change them, so that a series is as good as the storages it was made with.
        """
        if not (self._histogram._is_enabled() and 0 <= value < math.inf):
            self._histogram.record(value, attributes, context)
            return
        now, context = time_ns(), context or get_current()
        storages = self._consumer._reader_storages
        series = self._series.get(id(attributes))
        if series is None or series.storages is not storages:
            series = self._bind(attributes, storages)
        _, _, clean, should_sample, adds = series
        sampled = should_sample(value, now, clean, context)
        for into, aggregation in adds:
            into(aggregation, value, now, clean, context, sampled)

    def _bind(self, given: Mapping[str, Value], storages: Any) -> _Series:
        clean: Mapping[str, Value] = self._class(0, 0, self._histogram, None, given).attributes
        should_sample = _asked(self._consumer._sdk_config.exemplar_filter)
        series = _Series(given, storages, clean, should_sample, tuple(self._adds(clean, storages)))
        if id(given) in self._series or len(self._series) >= _MOST_SERIES:
            self._series.clear()  # The one that is there, and so each, was made with old storages.
        self._series[id(given)] = series
        return series

    def _adds(self, clean: Mapping[str, Value], storages: Any) -> Iterator[Add]:
        for storage in storages.values():
            for match in storage._get_or_init_view_instrument_match(self._histogram):
                names = match._view._attribute_keys
                kept = {k: v for k, v in clean.items() if names is None or k in names}
                yield self._add(match, kept)

    def _add(self, match: Any, attributes: dict[str, Value]) -> Add:
        """What `match.consume_measurement` comes to for measurements with these attributes.

        An aggregation that is not reset stays in use for good, be it its own or the overflow's.
        """
        from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes

        key = _hash_attributes(attributes)
        with match._lock:
            lasting = match._get_or_create_aggregation(key, attributes.copy())
        into: Into = _into_buckets if has_buckets(lasting) else self._into_any
        if not match._reset_on_collect:
            return into, lasting

        def into_latest(
            _: Any,
            value: float,
            now: int,
            clean: Any,
            context: Context,
            sampled: bool,  # noqa: FBT001
        ) -> None:
            with match._lock:
                found = match._attributes_aggregation.get(key)
                if found is None:
                    found = match._get_or_create_aggregation(key, attributes.copy())
                into(found, value, now, clean, context, sampled)

        return into_latest, None

    def _into_any(self, into: Any, value: float, now: int, clean: Any, *rest: Any) -> None:
        context, sampled = rest
        into.aggregate(self._class(value, now, self._histogram, context, clean), sampled)


def _asked(exemplar_filter: Any) -> Any:
    """`should_sample` of a filter; of the one that is the default, what it comes to."""
    from opentelemetry.sdk.metrics import TraceBasedExemplarFilter as ByTrace

    if type(exemplar_filter) is ByTrace and are_own(ByTrace, "should_sample"):
        return _is_in_sampled_span
    return exemplar_filter.should_sample


def _is_in_sampled_span(_value: float, _now: int, _clean: Any, context: Context) -> bool:
    return bool(span_in(context).get_span_context().trace_flags & TraceFlags.SAMPLED)


def has_buckets(aggregation: Any) -> bool:
    """Whether `_into_buckets` is what its `aggregate` does."""
    from opentelemetry.sdk.metrics._internal.aggregation import (
        _ExplicitBucketHistogramAggregation as Buckets,
    )

    return type(aggregation) is Buckets and are_own(Buckets, "aggregate", "_sample_exemplar")


def _into_buckets(
    into: Any,
    value: float,
    now: int,
    clean: Any,
    context: Context,
    sampled: bool,  # noqa: FBT001
) -> None:
    with into._lock:
        if into._value is None:
            into._value = into._get_empty_bucket_counts()
        into._sum += value
        if into._record_min_max:
            if value < into._min:  # noqa: PLR1730 - three calls saved, as below
                into._min = value
            if value > into._max:  # noqa: PLR1730
                into._max = value
        into._value[bisect_left(into._boundaries, value)] += 1
    if sampled:
        into._reservoir.offer(value, now, clean, context)
