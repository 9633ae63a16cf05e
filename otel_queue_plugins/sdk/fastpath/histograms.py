"""Record measurements of a histogram without cleaning and hashing the attributes each time."""

from __future__ import annotations

# ruff: noqa: SLF001 - what a reader keeps is private
import math
from bisect import bisect_left
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import get_current
from opentelemetry.trace import TraceFlags

from otel_queue_plugins.core.api.context import span_in
from otel_queue_plugins.sdk.fastpath.gate import UnexpectedSdkError
from otel_queue_plugins.sdk.fastpath.unpatched import are_unpatched, check_unpatched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.context import Context

    from otel_queue_plugins.sdk.fastpath import Record, Value

    Aggregate = Callable[[Any, float, int, Mapping[str, Value], Context, bool], None]
    Step = tuple[Aggregate, Any]

# Half a MiB for each histogram. Of more series than these, some are bound again and again.
_MOST_SERIES = 1024
_FIELDS = ["value", "time_unix_nano", "instrument", "context", "attributes"]


def fast_record(histogram: Any) -> Record:
    """Return a faster `histogram.record`, which looks up each series once.

    Raises UnexpectedSdkError if the histogram or what it uses is not the SDK's own. Versions up to
    1.44 clean and hash less, and need no fast path.
    """
    from opentelemetry.sdk.metrics._internal import _view_instrument_match as matching
    from opentelemetry.sdk.metrics._internal.instrument import _Histogram
    from opentelemetry.sdk.metrics._internal.measurement import Measurement
    from opentelemetry.sdk.metrics._internal.measurement_consumer import (
        SynchronousMeasurementConsumer as Consumer,
    )
    from opentelemetry.sdk.metrics._internal.metric_reader_storage import MetricReaderStorage

    if type(histogram) is not _Histogram or "record" in vars(histogram):
        raise UnexpectedSdkError(
            f"the instrument is a {type(histogram).__qualname__} with a record of its own"
        )
    consumer: Any = histogram._measurement_consumer
    if type(consumer) is not Consumer or "consume_measurement" in vars(consumer):
        raise UnexpectedSdkError(f"measurements go to a {type(consumer).__qualname__}")
    if not type(consumer._sdk_config.exemplar_filter).__module__.startswith("opentelemetry.sdk."):
        raise UnexpectedSdkError("there is an exemplar filter that is not the SDK's")
    if (
        not hasattr(matching, "_hash_attributes")
        or list(Measurement.__dataclass_fields__) != _FIELDS
    ):
        raise UnexpectedSdkError("measurements of this SDK are kept in another way")
    check_unpatched(Measurement, "__post_init__")
    check_unpatched(_Histogram, "record", "_is_enabled")
    check_unpatched(Consumer, "consume_measurement")
    check_unpatched(MetricReaderStorage, "consume_measurement")
    check_unpatched(matching._ViewInstrumentMatch, "consume_measurement")
    return _Recorder(histogram, consumer, Measurement).record


class _Series(NamedTuple):
    """What one set of attributes has in common, as long as the readers' `storages` are the same.

    `given` are the attributes as the caller has them, `attributes` are clean. Each of `steps` is a
    function and the aggregation to call it with.
    """

    given: Mapping[str, Value]
    storages: object
    attributes: Mapping[str, Value]
    should_sample: Callable[[float, int, Mapping[str, Value], Context], bool]
    steps: tuple[Step, ...]


class _Recorder:
    """Records the measurements of one histogram."""

    def __init__(self, histogram: Any, consumer: Any, measurement_class: type[Any]) -> None:
        self._histogram = histogram
        self._consumer = consumer
        self._class = measurement_class
        self._series: dict[int, _Series] = {}

    def record(self, value: float, attributes: Mapping[str, Value], context: Context) -> None:
        """Do what `Histogram.record` and all that it calls do.

        Attributes are compared by identity, which is safe because a series keeps its dict alive.
        """
        if not (self._histogram._is_enabled() and 0 <= value < math.inf):
            self._histogram.record(value, attributes, context)
            return
        now, context = time_ns(), context or get_current()
        storages = self._consumer._reader_storages
        series = self._series.get(id(attributes))
        # A reader that is added or removed, in a forked child too, makes the consumer replace its
        # storages; it never changes them.
        if series is None or series.storages is not storages:
            series = self._bind(attributes, storages)
        _, _, clean, should_sample, steps = series
        sampled = should_sample(value, now, clean, context)
        for aggregate, aggregation in steps:
            aggregate(aggregation, value, now, clean, context, sampled)

    def _bind(self, given: Mapping[str, Value], storages: Any) -> _Series:
        clean: Mapping[str, Value] = self._class(0, 0, self._histogram, None, given).attributes
        should_sample = _should_sample(self._consumer._sdk_config.exemplar_filter)
        steps = tuple(self._steps(clean, storages))
        series = _Series(given, storages, clean, should_sample, steps)
        if id(given) in self._series or len(self._series) >= _MOST_SERIES:
            self._series.clear()  # all of them were made with old storages
        self._series[id(given)] = series
        return series

    def _steps(self, clean: Mapping[str, Value], storages: Any) -> Iterator[Step]:
        for storage in storages.values():
            for match in storage._get_or_init_view_instrument_match(self._histogram):
                names = match._view._attribute_keys
                kept = {k: v for k, v in clean.items() if names is None or k in names}
                yield self._step(match, kept)

    def _step(self, match: Any, attributes: dict[str, Value]) -> Step:
        """What `match.consume_measurement` does with measurements that have these attributes."""
        from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes

        key = _hash_attributes(attributes)
        with match._lock:
            lasting = match._get_or_create_aggregation(key, attributes.copy())
        aggregate: Aggregate = _aggregate_buckets if has_buckets(lasting) else self._aggregate_any
        # Without a reset an aggregation is used for ever, that of the overflow too.
        if not match._reset_on_collect:
            return aggregate, lasting

        def aggregate_latest(
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
                aggregate(found, value, now, clean, context, sampled)

        return aggregate_latest, None

    def _aggregate_any(self, into: Any, value: float, now: int, clean: Any, *rest: Any) -> None:
        context, sampled = rest
        into.aggregate(self._class(value, now, self._histogram, context, clean), sampled)


def _should_sample(exemplar_filter: Any) -> Any:
    """The filter's `should_sample`, or a faster function that is equal to the default filter's."""
    from opentelemetry.sdk.metrics import TraceBasedExemplarFilter as ByTrace

    if type(exemplar_filter) is ByTrace and are_unpatched(ByTrace, "should_sample"):
        return _is_in_sampled_span
    return exemplar_filter.should_sample


def _is_in_sampled_span(_value: float, _now: int, _clean: Any, context: Context) -> bool:
    return bool(span_in(context).get_span_context().trace_flags & TraceFlags.SAMPLED)


def has_buckets(aggregation: Any) -> bool:
    """Whether `_aggregate_buckets` does what its `aggregate` does."""
    from opentelemetry.sdk.metrics._internal.aggregation import (
        _ExplicitBucketHistogramAggregation as Buckets,
    )

    return type(aggregation) is Buckets and are_unpatched(Buckets, "aggregate", "_sample_exemplar")


def _aggregate_buckets(
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
            if value < into._min:  # noqa: PLR1730 - saves three calls
                into._min = value
            if value > into._max:  # noqa: PLR1730
                into._max = value
        into._value[bisect_left(into._boundaries, value)] += 1
    if sampled:
        into._reservoir.offer(value, now, clean, context)
