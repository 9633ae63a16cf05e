"""Whatever is measured in children reads as if the SDK had recorded it where it is exported."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_queue_plugins.core.metrics.observed import Counts
from otel_queue_plugins.sdk.relay import collector, measured
from otel_queue_plugins.sdk.relay.collector import Collector
from otel_queue_plugins.sdk.relay.metering import RelayMeterProvider
from otel_queue_plugins.sdk.relay.outbox import Outbox
from otel_queue_plugins.sdk.relay.pipe import Pipe
from otel_queue_plugins.sdk.relay.replay import Replay

DELTA = dict.fromkeys((Counter, Histogram, ObservableCounter), AggregationTemporality.DELTA)
EXPONENTIAL = {Histogram: ExponentialBucketHistogramAggregation()}


class Children:
    """Two processes of a worker and the one that exports, all of them here."""

    def __init__(self, temporality: Any = None, aggregation: Any = None) -> None:
        self.reader = InMemoryMetricReader(temporality, aggregation)
        self.provider = MeterProvider([self.reader])
        self.counts = Counts(lambda: 0)
        self.pipe = Pipe()
        self.dropped: list[int] = []
        self.replay = Replay(self.provider, self.counts)
        self.collector = Collector(self.pipe, [], [], self.replay, self.dropped.append)
        self.outboxes = [Outbox(self.pipe, 5, 5) for _ in range(2)]
        self.here = 0
        self.meters = [RelayMeterProvider(_Seen(self, number)) for number in range(2)]  # type: ignore[arg-type]

    def collect(self) -> Any:
        """What a backend would be sent."""
        for outbox in self.outboxes:
            assert outbox.hand_over()
        self.collector.settle()
        return points(self.reader)

    def close(self) -> None:
        """The pipe."""
        os.close(self.pipe._read_end)
        os.close(self.pipe._write_end)


@dataclass
class _Seen:
    """What instruments of one child see of the relay."""

    children: Children
    number: int

    def outbox(self) -> Outbox:
        return self.children.outboxes[self.number]

    def own_meter_provider(self) -> None:
        return None


def points(reader: InMemoryMetricReader) -> dict[str, Any]:
    """All data points, without their times."""
    found: dict[str, Any] = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    attributes = sorted(
                        (key, repr(value)) for key, value in point.attributes.items()
                    )
                    key = (scope.scope.name, metric.name, metric.unit, str(attributes))
                    found[str(key)] = shown(point)
    return found


def shown(point: Any) -> dict[str, Any]:
    """A data point without its times; of exemplars, that they are of spans that were there."""
    fields = {name: getattr(point, name) for name in vars(point) if "time" not in name}
    fields.pop("exemplars", None)
    return fields


SPANS = [SpanContext(trace, trace + 1, False, TraceFlags(1)) for trace in (0xA, 0xB)]
CONTEXTS = [set_span_in_context(NonRecordingSpan(each), Context()) for each in SPANS]
VALUES = st.one_of(
    st.integers(-3, 2**40),
    st.integers(2**53 - 2, 2**62),
    st.integers(-8, 800).map(lambda eighths: eighths / 8),
    st.booleans(),
)
ATTRIBUTES = st.sampled_from(
    [
        None,
        {},
        {"a": 1},
        {"a": True},
        {"a": 1.0},
        {"a": "1", "b": ("x", "y")},
        {"b": ("x", "y"), "a": "1"},
        {"\u20ac": b"bytes"},
    ]
)
ACTS = {
    "counter": ("create_counter", "add"),
    "up_down": ("create_up_down_counter", "add"),
    "histogram": ("create_histogram", "record"),
    "gauge": ("create_gauge", "set"),
}
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(sorted(ACTS)),
            st.integers(0, 1),
            VALUES,
            ATTRIBUTES,
            st.sampled_from([*CONTEXTS, None]),
        ),
        st.just("collect"),
        st.just("hand over"),
    ),
    max_size=40,
)


@pytest.mark.parametrize("fast", ["on", "off"])
@pytest.mark.parametrize("aggregation", [None, EXPONENTIAL], ids=["buckets", "exponential"])
@pytest.mark.parametrize("temporality", [None, DELTA], ids=["cumulative", "delta"])
def test_any_story_reads_as_if_the_sdk_had_recorded_it(
    temporality: Any, aggregation: Any, fast: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All kinds of instruments, from two processes, at every collection."""
    monkeypatch.setenv("OTEL_QUEUE_FASTPATH", fast)

    @given(steps=STEPS)
    def reads_the_same(steps: list[Any]) -> None:
        compare(steps, temporality, aggregation)

    reads_the_same()


def compare(steps: list[Any], temporality: Any, aggregation: Any) -> None:
    """A story as children tell it, and as the SDK records it."""
    children = Children(temporality, aggregation)
    reader = InMemoryMetricReader(temporality, aggregation)
    plain = MeterProvider([reader])
    try:
        for step in steps:
            if step == "collect":
                assert children.collect() == points(reader)
            elif step == "hand over":
                children.outboxes[0].hand_over()
            else:
                act(children, plain, *step)
        assert children.collect() == points(reader)
    finally:
        children.close()


def act(
    children: Children,
    plain: MeterProvider,
    kind: str,
    child: int,
    value: float,
    attributes: Any,
    context: Context | None,
) -> None:
    """The same in a child and with the SDK. Another child's gauge is handed over at once."""
    make, method = ACTS[kind]
    for provider in (children.meters[child], plain):
        instrument = getattr(provider.get_meter("scope", "1"), make)(kind, "u", "described")
        getattr(instrument, method)(value, attributes, context)
    if kind == "gauge":
        children.outboxes[child].hand_over()
        children.collector.drain()


A_THEN_B, B_THEN_A = {"a": 1, "b": 2}, {"b": 2, "a": 1}


@pytest.mark.parametrize("writers", [(0, 0, 0), (0, 1, 0)], ids=["one child", "two children"])
@pytest.mark.parametrize("is_apart", [True, False], ids=["each handed over", "together"])
def test_last_value_of_a_gauge_counts_whatever_the_order_of_its_attributes(
    writers: tuple[int, ...], is_apart: bool, children: Children
) -> None:
    """They are one series."""
    for value, (child, attributes) in enumerate(
        zip(writers, (A_THEN_B, B_THEN_A, A_THEN_B), strict=True)
    ):
        gauge = children.meters[child].get_meter("scope").create_gauge("g")
        gauge.set(value, attributes)
        if is_apart:
            children.outboxes[child].hand_over()
            children.collector.drain()
    (point,) = children.collect().values()
    if is_apart or len(set(writers)) == 1:
        assert point["value"] == 2


@pytest.fixture
def children() -> Any:
    """With the pipe closed again."""
    made = Children()
    yield made
    made.close()


def test_an_exemplar_points_to_the_span_of_the_child(children: Children) -> None:
    """With the value that was measured there, of what was added up the last one."""
    counter = children.meters[0].get_meter("scope").create_counter("c")
    for _ in range(100):
        counter.add(2, context=CONTEXTS[0])
    counter.add(7, context=CONTEXTS[1])
    children.outboxes[0].hand_over()
    children.collector.settle()
    data: Any = children.reader.get_metrics_data()
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert point.value == 207
    assert (7, SPANS[1].span_id) in {(each.value, each.span_id) for each in point.exemplars}


class Color(str, enum.Enum):
    """A text that marshal does not know."""

    RED = "red"


def test_attributes_of_other_types_are_handed_over_as_what_they_are_based_on(
    children: Children,
) -> None:
    """As OTLP has them in the end."""
    counter = children.meters[0].get_meter("scope").create_counter("c")
    counter.add(1, {"color": Color.RED, "texts": [Color.RED]})
    (key,) = children.collect()
    assert key.count("red") == 2
    assert "Color" not in key


def test_a_dict_that_is_used_again_is_another_series(children: Children) -> None:
    """Callers may change their attributes after a measurement."""
    counter = children.meters[0].get_meter("scope").create_counter("c")
    attributes = {"n": 1}
    for number in range(3):
        attributes["n"] = number
        counter.add(1, attributes)
    assert len(children.collect()) == 3


def test_series_are_bounded_on_both_sides(children: Children) -> None:
    """With more than 4,096 all begin anew, and the counts stay true."""
    counter = children.meters[0].get_meter("scope").create_counter("c")
    for number in range(3 * measured.MOST_SERIES):
        counter.add(1, {"n": number})
        if number % 500 == 0:
            children.outboxes[0].hand_over()
            children.collector.drain()
    values = children.collect().values()
    assert sum(each["value"] for each in values) == 3 * measured.MOST_SERIES
    (table,) = children.replay._tables.values()
    assert len(table._series) <= 2 * measured.MOST_SERIES


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_what_the_sdk_refuses_is_refused_with_a_warning(
    value: float, children: Children, caplog: pytest.LogCaptureFixture
) -> None:
    """In the process that measured it."""
    children.meters[0].get_meter("scope").create_counter("c").add(value)
    children.meters[0].get_meter("scope").create_histogram("h").record(value)
    assert children.collect() == {}
    assert len(caplog.records) == 2


def test_a_name_that_may_not_be_is_refused_in_the_child(children: Children) -> None:
    """As the SDK does, and where the caller is."""
    with pytest.raises(ValueError, match="no name"):
        children.meters[0].get_meter("scope").create_counter("1 2")


def test_counts_of_children_are_those_of_the_worker(children: Children) -> None:
    """Our own, which are plain integers where they are exported."""
    about = measured.Instrument(measured.CONSUMED, ("", None, None, b""), "", "", "", None)
    attributes = {"taskqueue.task.name": "t"}
    for outbox in children.outboxes:
        for _ in range(70):
            outbox.add((outbox.series.of_lasting(about, attributes), 1, None))
        outbox.add_end(42)
    children.collect()
    (observation,) = children.counts.consumed.observe(metrics.CallbackOptions())
    assert (observation.value, observation.attributes) == (140, attributes)
    assert children.collector.has_ended(42)
    assert not children.collector.has_ended(43)


def test_ends_are_found_by_the_whole_id_only(children: Children) -> None:
    """Not across two of them that stand one after the other."""
    first, second = 0x0102030405060708, 0x1112131415161718
    children.outboxes[0].add_end(first)
    children.outboxes[0].add_end(second)
    children.outboxes[0].add_log(b"", b"\x12\x01a")
    assert children.collector.has_ended(first)
    assert children.collector.has_ended(second)
    assert not children.collector.has_ended(0x0506070811121314)
    assert not children.collector.has_ended(0)


def test_dead_processes_are_forgotten_and_what_they_measured_is_not(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what a dead one has left in the pipe, without the definitions that came before."""
    alive = children.outboxes[0]._source
    monkeypatch.setattr(collector, "is_alive", lambda source: source == alive)
    for number in range(200):
        source = (number + 1, 7) if number % 10 else alive
        children.outboxes[1] = outbox = Outbox(children.pipe, 5, 5)
        outbox._source = source
        counter = children.meters[1].get_meter("scope").create_counter("c")
        counter.add(1)
        outbox.hand_over()
        if number % 7 == 0:
            children.collector.drain()
        counter.add(1)
        outbox.hand_over()
    children.collector.drain()
    assert len(children.replay.sources()) < 2 * 64
    (found,) = children.collect().values()
    assert found["value"] == 400


def full(children: Children) -> None:
    """The pipe takes nothing more."""
    while children.pipe.write(b"x" * 4096):
        pass


def emptied(children: Children) -> None:
    """And now it does."""
    while children.pipe.read():
        pass


def test_what_finds_no_room_waits_and_is_counted_when_dropped(children: Children) -> None:
    """Of spans the oldest are dropped; measurements never are."""
    outbox = children.outboxes[0]
    counter = children.meters[0].get_meter("scope").create_counter("c")
    histogram = children.meters[0].get_meter("scope").create_histogram("h")
    full(children)
    for number in range(20_000):
        counter.add(1)
        histogram.record(number % 10)
        if number % 1000 == 0:
            outbox.add_span(b"", b"\x12\x01%c" % (number // 1000))
    assert outbox.waiting() == 20
    assert len(outbox._measurements) < 10_000
    with outbox._lock:  # it tries again by itself as soon as there is room
        emptied(children)
    found = children.collect()
    (added,) = [each for key, each in found.items() if "'c'" in key]
    (recorded,) = [each for key, each in found.items() if "'h'" in key]
    assert added["value"] == recorded["count"] == 20_000
    assert recorded["sum"] == pytest.approx(sum(number % 10 for number in range(20_000)))
    assert outbox.waiting() == 0
    assert sum(children.dropped) == 20 - 5 - 1  # one had left with the first message


def test_a_signal_handler_that_logs_while_we_hand_over_does_not_wait_for_us(
    children: Children,
) -> None:
    """A collection of garbage may run anything, anywhere."""
    outbox = children.outboxes[0]
    write = children.pipe.write

    def interrupted(part: bytes) -> bool:
        children.pipe.write = write  # type: ignore[method-assign]
        outbox.add_log(b"", b"\x12\x01a")
        return write(part)

    children.pipe.write = interrupted  # type: ignore[method-assign]
    outbox.add_log(b"", b"\x12\x01b")
    assert not outbox._logs


def test_what_nobody_defined_is_left_out(children: Children) -> None:
    """A definition that was lost with a process costs no more than its own series."""
    counter = children.meters[0].get_meter("scope").create_counter("c")
    other = children.meters[0].get_meter("scope").create_counter("d")
    counter.add(1)
    children.outboxes[0].hand_over()
    emptied(children)
    counter.add(2)
    other.add(3)
    (found,) = children.collect().values()
    assert found["value"] == 3
