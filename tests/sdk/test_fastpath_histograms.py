"""What is recorded on the fast path is read and exported as if the SDK had recorded it."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import metrics
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics._internal import _view_instrument_match
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    SumAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_queue_plugins.sdk import fastpath

DELTA: Any = {Histogram: AggregationTemporality.DELTA}
NOWHERE = Context({"some": "value"})
VIEWS: list[tuple[View, ...]] = [
    (),
    (View(instrument_name="work", attribute_keys={"a"}),),
    (View(instrument_name="work", attribute_keys=set()),),
    (View(instrument_name="work", aggregation=DropAggregation()),),
    (View(instrument_name="work", aggregation=ExponentialBucketHistogramAggregation()),),
    (View(instrument_name="work", aggregation=ExplicitBucketHistogramAggregation([1.0, 2.0])),),
    (View(instrument_name="work", aggregation=SumAggregation()),),
    (View(instrument_name="work", aggregation=LastValueAggregation()),),
    (
        View(instrument_name="work", name="one", attribute_keys={"a"}),
        View(instrument_name="work", name="two"),
    ),
    (View(instrument_name="other", name="not.this"),),
]
FILTERS = [TraceBasedExemplarFilter(), AlwaysOnExemplarFilter(), AlwaysOffExemplarFilter()]


def in_span(trace_id: int, *, sampled: bool = True) -> Context:
    """A context with a span."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    span = NonRecordingSpan(SpanContext(trace_id, trace_id, is_remote=False, trace_flags=flags))
    return set_span_in_context(span, Context())


def bound(histogram: Any) -> Any:
    """The fast path of `histogram`; there must be one from 1.45 on, there is none before."""
    short = fastpath.bind(histogram)
    if not hasattr(_view_instrument_match, "_hash_attributes"):
        assert short is None
        pytest.skip("an SDK that does not hash attributes is not shortened")
    assert short is not None
    return short


class Measuring:
    """A provider of its own with two readers and one histogram, recorded in one of two ways."""

    def __init__(self, *, shorten: bool, **options: Any) -> None:
        self.readers = [InMemoryMetricReader(), InMemoryMetricReader(DELTA)]
        options = {"resource": Resource({"service.name": "s"}), **options}
        self.provider = MeterProvider(self.readers, shutdown_on_exit=False, **options)
        meter = self.provider.get_meter("scope")
        self.histogram = meter.create_histogram(
            "work", "s", explicit_bucket_boundaries_advisory=[0.1, 1.0, 10.0]
        )
        self.record: Callable[..., None] = self.histogram.record
        if shorten:
            self.record = bound(self.histogram)

    def read(self, reader: InMemoryMetricReader) -> Any:
        data = reader.get_metrics_data()
        return None if data is None else without_times(json.loads(data.to_json()))

    def read_all(self) -> list[Any]:
        return [self.read(reader) for reader in self.readers]

    def points(self, number: int = 0) -> list[dict[str, Any]]:
        return list(_points(self.read(self.readers[number])))


def _points(data: Any) -> Iterator[dict[str, Any]]:
    for resource in (data or {}).get("resource_metrics", ()):
        for scope in resource["scope_metrics"]:
            for metric in scope["metrics"]:
                yield from metric["data"]["data_points"]


def without_times(data: Any) -> Any:
    """Decoded JSON less what differs from run to run."""
    if isinstance(data, list):
        return [without_times(each) for each in data]
    if not isinstance(data, dict):
        return data
    return {key: without_times(each) for key, each in data.items() if "time_unix" not in key}


def both(**options: Any) -> tuple[Measuring, Measuring]:
    """Two equal set-ups: one with the public API, one with the fast path."""
    return Measuring(shorten=False, **options), Measuring(shorten=True, **options)


SERIES: list[dict[str, Any]] = [
    {"a": "x", "b": 1},
    {"b": 1, "a": "x"},
    {"a": "x", "b": True},
    {"a": "x", "b": 1.0},
    {"a": "y"},
    {},
]
values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.integers(-2, 10**6), st.just(-0.0)
)
record = st.tuples(
    st.just("record"),
    values,
    st.integers(0, len(SERIES) - 1),
    st.sampled_from([NOWHERE, Context(), in_span(1), in_span(2), in_span(3, sampled=False)]),
)
steps = st.lists(
    st.one_of(
        record,
        record,
        record,
        st.tuples(st.just("read"), st.integers(0, 1)),
        st.tuples(st.just("add reader"), st.booleans()),
        st.tuples(st.just("remove reader")),
        st.tuples(st.just("swap readers")),
    ),
    max_size=30,
)


def take(measuring: Measuring, step: tuple[Any, ...]) -> Any:
    """Do one step of a sequence, and return what it shows."""
    what, *arguments = step
    if what == "record":
        value, series, context = arguments
        measuring.record(value, SERIES[series], context)
    elif what == "read":
        number = arguments[0] % len(measuring.readers) if measuring.readers else None
        return None if number is None else measuring.read(measuring.readers[number])
    elif what == "add reader":
        reader = InMemoryMetricReader(DELTA if arguments[0] else None)
        measuring.provider.add_metric_reader(reader)
        measuring.readers.append(reader)
    elif what == "remove reader" and measuring.readers:
        measuring.provider.remove_metric_reader(measuring.readers.pop(0))
    elif what == "swap readers":
        swap(measuring)
    return None


def swap(measuring: Measuring) -> None:
    """What the repair of a forked child does to the readers."""
    consumer = measuring.provider._measurement_consumer
    for reader in measuring.readers:
        consumer.remove_metric_reader(reader)
        consumer.add_metric_reader(reader)


@given(sequence=steps, views=st.sampled_from(VIEWS), exemplar_filter=st.sampled_from(FILTERS))
def test_any_sequence_of_measurements_is_exported_as_by_the_sdk(
    sequence, views, exemplar_filter
) -> None:
    """For all values, series, views, readers and exemplars each collection gives the same."""
    logging.disable(logging.WARNING)
    try:
        usual, short = both(views=views, exemplar_filter=exemplar_filter)
        for step in sequence:
            random.seed(1)  # reservoirs of exemplars draw lots
            expected = take(usual, step)
            random.seed(1)
            assert repr(take(short, step)) == repr(expected)
        assert repr(usual.read_all()) == repr(short.read_all())
    finally:
        logging.disable(logging.NOTSET)


def test_point_times_are_those_of_the_measurements() -> None:
    """A cumulative point starts with the first record; a delta point where the last one ended."""
    short = Measuring(shorten=True)
    times = []
    for _ in range(3):
        short.record(1.0, SERIES[0], NOWHERE)
        data = [json.loads(reader.get_metrics_data().to_json()) for reader in short.readers]
        points = [next(_points(each)) for each in data]
        times.append([(each["start_time_unix_nano"], each["time_unix_nano"]) for each in points])
    assert len({cumulative[0] for cumulative, _ in times}) == 1
    assert [delta[0] for _, delta in times[1:]] == [delta[1] for _, delta in times[:-1]]


def test_exemplar_has_the_trace_id() -> None:
    """Inside a sampled span a measurement leaves an exemplar with its ids; outside none."""
    short = Measuring(shorten=True)
    short.record(0.5, SERIES[0], in_span(7))
    short.record(0.5, SERIES[4], in_span(8, sampled=False))
    first, second = short.points()
    (exemplar,) = first["exemplars"]
    assert (exemplar["trace_id"], exemplar["span_id"], exemplar["value"]) == (7, 7, 0.5)
    assert second["exemplars"] == []


def test_measurement_without_context_uses_the_current_one() -> None:
    """An empty context stands for the current one, as with the SDK."""
    usual, short = both()
    token = attach(in_span(9))
    for measuring in (usual, short):
        measuring.record(0.5, SERIES[0], Context())
    detach(token)
    assert usual.read_all() == short.read_all()


def test_removed_reader_gets_nothing_and_new_reader_later_measurements() -> None:
    """Bound series use the current readers, whenever one is added or removed."""
    short = Measuring(shorten=True)
    short.record(1.0, SERIES[0], NOWHERE)
    new = InMemoryMetricReader()
    short.provider.add_metric_reader(new)
    short.record(2.0, SERIES[0], NOWHERE)
    short.provider.remove_metric_reader(short.readers.pop(0))
    short.record(4.0, SERIES[0], NOWHERE)
    assert [point["sum"] for point in _points(short.read(new))] == [6.0]


def test_readded_reader_starts_from_zero() -> None:
    """A series bound before uses the new storages."""
    short = Measuring(shorten=True)
    for _ in range(3):
        short.record(1.0, SERIES[0], NOWHERE)
    swap(short)
    short.record(1.0, SERIES[0], NOWHERE)
    assert [point["count"] for point in short.points(0)] == [1]
    assert [point["count"] for point in short.points(1)] == [1]


def test_storages_of_removed_readers_are_released() -> None:
    """No series keeps the storage of a removed reader."""
    short = Measuring(shorten=True)
    for attributes in SERIES:
        short.record(1.0, attributes, NOWHERE)
    storages = weakref.WeakSet(short.provider._measurement_consumer._reader_storages.values())
    swap(short)
    short.record(1.0, SERIES[0], NOWHERE)
    gc.collect()
    assert not storages


@pytest.mark.parametrize("number", [0, 1], ids=["cumulative", "delta"])
def test_cardinality_limit_is_applied(number: int) -> None:
    """2500 series leave 2000 points and one that holds the other 500, also when seen again."""
    usual, short = both()
    series = [{"n": each} for each in range(2500)]
    for measuring in (usual, short):
        for _ in range(2):
            for attributes in series:
                measuring.record(1.0, attributes, NOWHERE)
    expected, points = usual.points(number), short.points(number)
    assert points == expected
    assert len(points) == 2001
    assert [p["count"] for p in points if "otel.metric.overflow" in p["attributes"]] == [1000]


def test_number_of_kept_series_is_bounded() -> None:
    """A caller that passes fresh attributes each time costs no memory, and counts are right."""
    short = Measuring(shorten=True)
    for _ in range(5000):
        short.record(1.0, {"a": "x"}, NOWHERE)
    assert [point["count"] for point in short.points()] == [5000]
    assert len(short.record.__self__._series) <= 1024


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -0.5])
def test_invalid_measurement_is_dropped(value: float, caplog: pytest.LogCaptureFixture) -> None:
    """NaN, infinities and negative values are not recorded, with the SDK's warning."""
    short = Measuring(shorten=True)
    short.record(value, SERIES[0], NOWHERE)
    assert "Record amount" in caplog.text
    assert short.read_all() == [None, None]


def test_disabled_meter_records_nothing() -> None:
    """A meter may be disabled and enabled again by configuration."""
    short = Measuring(shorten=True)
    config = type(short.histogram._meter_config._config)
    for enabled in (True, False, True):
        answer = config(is_enabled=enabled)
        short.provider._set_meter_configurator(
            meter_configurator=lambda _scope, answer=answer: answer
        )
        short.record(1.0, SERIES[0], NOWHERE)
    assert [point["count"] for point in short.points()] == [2]


def test_measurement_after_shutdown_is_as_with_the_sdk() -> None:
    """A record after the provider's shutdown raises nothing and is read by nobody."""
    usual, short = both()
    for measuring in (usual, short):
        measuring.record(1.0, SERIES[0], NOWHERE)
        measuring.provider.shutdown()
        measuring.record(1.0, SERIES[0], NOWHERE)
    assert usual.read_all() == short.read_all()


def test_proxy_histogram_is_resolved_once_there_is_a_provider() -> None:
    """Before there is a provider, an instrument of the API has no fast path."""
    early = metrics.get_meter("early").create_histogram("work")
    assert fastpath.bind(early) is None
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    short = bound(early)
    short(1.0, SERIES[0], NOWHERE)
    data = reader.get_metrics_data()
    assert data is not None
    assert [each["count"] for each in _points(json.loads(data.to_json()))] == [1]


@pytest.mark.parametrize("number", [0, 1], ids=["cumulative", "delta"])
def test_measurements_of_many_threads_are_all_counted(number: int) -> None:
    """Records of many threads, while a reader collects and another comes and goes, add up."""
    short = Measuring(shorten=True)
    reads: list[int] = []
    stop = threading.Event()

    def work() -> None:
        for step in range(2000):
            short.record(1.0, SERIES[step % 2 * 4], NOWHERE)

    def collect() -> None:
        while not stop.is_set():
            reads.append(sum(point["count"] for point in short.points(number)))
            other = InMemoryMetricReader()
            short.provider.add_metric_reader(other)
            short.provider.remove_metric_reader(other)
            stop.wait(0.001)

    collector = threading.Thread(target=collect)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for thread in (collector, *workers):
        thread.start()
    for thread in workers:
        thread.join(30)
    stop.set()
    collector.join(30)
    last = sum(point["count"] for point in short.points(number))
    assert (last if number == 0 else last + sum(reads)) == 8000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_child_counts_from_its_own_start() -> None:
    """After the repair of a fork parent and child count separately, each from its own start."""
    short = Measuring(shorten=True)
    short.record(1.0, SERIES[0], NOWHERE)
    child = os.fork()
    if child == 0:
        wrong = True
        try:
            swap(short)
            short.record(1.0, SERIES[0], NOWHERE)
            short.record(1.0, SERIES[0], NOWHERE)
            wrong = [point["count"] for point in short.points()] != [2]
        finally:
            os._exit(int(wrong))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    short.record(1.0, SERIES[0], NOWHERE)
    assert [point["count"] for point in short.points()] == [2]
