"""Many measurements at once come out as if each had been recorded by itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk import version as sdk_version
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics._internal import measurement_consumer
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_queue_plugins.sdk import fastpath

VALUES = st.integers(0, 40_000).map(lambda quarters: quarters / 4)
DELTA: Any = {Histogram: AggregationTemporality.DELTA}
EXPONENTIAL: Any = {Histogram: ExponentialBucketHistogramAggregation()}
VIEWS = {
    "none": [],
    "fewer": [
        View(instrument_name="h", attribute_keys={"a"}, name="fewer"),
        View(instrument_name="h"),
    ],
    "dropped": [View(instrument_name="h", aggregation=DropAggregation())],
}
FILTERS = [TraceBasedExemplarFilter, AlwaysOnExemplarFilter, AlwaysOffExemplarFilter]
_EXEMPLARS = re.compile(r'"exemplars": \[.*?\]', re.DOTALL)
_TIMES = re.compile(r'"(start_)?time_unix_nano": \d+')
CONTEXT = set_span_in_context(
    NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))), Context()
)


class Measuring:
    """A histogram with two readers."""

    def __init__(self, aggregation: Any = None, views: str = "none", samples: Any = None) -> None:
        self._readers = [
            InMemoryMetricReader(preferred_aggregation=aggregation),
            InMemoryMetricReader(DELTA),
        ]
        provider = MeterProvider(
            self._readers,
            Resource({}),
            samples and samples(),
            shutdown_on_exit=False,
            views=VIEWS[views],
        )
        self.histogram: Any = provider.get_meter("scope").create_histogram("h")

    def read(self) -> list[str]:
        """What both readers read, less the times."""
        read: list[Any] = [reader.get_metrics_data() for reader in self._readers]
        return [_TIMES.sub("", data.to_json()) if data else "" for data in read]


@pytest.mark.parametrize("samples", FILTERS)
@pytest.mark.parametrize("views", sorted(VIEWS))
@pytest.mark.parametrize("aggregation", [None, EXPONENTIAL], ids=["buckets", "exponential"])
@settings(max_examples=20)
@given(batches=st.lists(st.lists(VALUES, min_size=1, max_size=30), max_size=4))
def test_merged_values_read_as_recorded_ones(
    batches: list[list[float]], aggregation: Any, views: str, samples: Any
) -> None:
    """For each aggregation, view and exemplar filter, with a collection after each batch."""
    usual, merged = (Measuring(aggregation, views, samples) for _ in range(2))
    ways = fastpath.merge(merged.histogram)
    assert ways is not None
    for number, values in enumerate(batches):
        attributes = {"a": 1, "b": number % 2}
        for value in values:
            usual.histogram.record(value, attributes, CONTEXT)
        ways.merge(values, attributes, b"\1" * len(values), lambda _: (CONTEXT, 5))
        assert comparable(merged, aggregation) == comparable(usual, aggregation)


def comparable(measuring: Measuring, aggregation: Any) -> list[str]:
    """Which exemplars an exponential histogram keeps is drawn by lot."""
    read = measuring.read()
    return read if aggregation is None else [_EXEMPLARS.sub("", each) for each in read]


def test_more_series_than_may_be_are_one_together() -> None:
    """As in the SDK, which has a bound from 1.45.2 on."""
    usual, merged = Measuring(), Measuring()
    ways = fastpath.merge(merged.histogram)
    assert ways is not None
    for number in range(2100):
        for value in (1, 2):
            usual.histogram.record(value, {"n": number}, Context())
        ways.merge([1, 2], {"n": number}, b"\0\0", lambda _: (Context(), 5))
    assert merged.read() == usual.read()


def test_an_exemplar_has_the_time_of_its_measurement() -> None:
    """Not that of the merging."""
    reader = InMemoryMetricReader()
    histogram = MeterProvider([reader], shutdown_on_exit=False).get_meter("m").create_histogram("h")
    ways = fastpath.merge(histogram)
    assert ways is not None
    ways.record(1, None, CONTEXT, 7)
    ways.merge([30, 30, 40], None, b"\0\1\0", lambda index: (CONTEXT, 10 + index))
    data: Any = reader.get_metrics_data()
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    found = {(each.value, each.time_unix_nano) for each in point.exemplars}
    assert found == {(1, 7), (30, 11)}


@pytest.mark.parametrize("version", ["1.43.0", "1.99.0"])
def test_an_sdk_that_is_not_proven_is_left_alone(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None: each is recorded by itself then."""
    monkeypatch.setattr(sdk_version, "__version__", version)
    assert fastpath.merge(Measuring().histogram) is None


def test_an_instrument_that_is_not_the_sdks_is_left_alone() -> None:
    """Whoever made it."""
    assert fastpath.merge(NoOpMeterProvider().get_meter("m").create_histogram("h")) is None


def test_a_consumer_that_somebody_has_patched_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They want to see each measurement."""
    consumer: Any = measurement_consumer.SynchronousMeasurementConsumer
    monkeypatch.setattr(consumer, "consume_measurement", lambda *_: None)
    assert fastpath.merge(Measuring().histogram) is None
