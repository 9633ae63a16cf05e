"""Spans that we encode are equal to those of the official encoder."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)

from otel_queue_plugins.sdk.fastpath import encoding
from tests.sdk import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder


def bounded_lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists as a span has them, with some dropped, and as other libraries may set them."""
    lists = st.lists(items, max_size=3)
    most = st.sampled_from([None, 128, 1, 0])
    return st.builds(BoundedList.from_seq, most, lists) | lists | lists.map(tuple) | st.just(())


def built(
    cls: type, sound: dict[str, st.SearchStrategy[Any]], odd: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Any]:
    """Instances with at most two unusual fields."""
    return encoded.mostly_sound(sound, odd).map(lambda facts: cls(**facts))


NAMES = encoded.texts | st.none() | encoded.no_texts
SOUND_ATTRIBUTES = st.none() | encoded.sound_bounded | encoded.sound_mappings
ERROR = StatusCode.ERROR
events = built(
    Event,
    {
        "name": encoded.sound_texts,
        "attributes": SOUND_ATTRIBUTES,
        "timestamp": encoded.sound_times,
    },
    {"name": NAMES, "attributes": encoded.attributes, "timestamp": encoded.times},
)
links = built(
    Link,
    {"context": encoded.contexts, "attributes": SOUND_ATTRIBUTES},
    {"context": encoded.impossible_contexts, "attributes": encoded.attributes},
)
spans = built(
    ReadableSpan,
    {
        "name": encoded.sound_texts,
        "context": encoded.contexts,
        "parent": st.none() | encoded.contexts,
        "resource": encoded.resources,
        "attributes": SOUND_ATTRIBUTES,
        "events": bounded_lists(events),
        "links": bounded_lists(links),
        "kind": st.sampled_from(SpanKind),
        "status": st.sampled_from([Status(), Status(StatusCode.OK), Status(ERROR, "no \u00e9")]),
        "start_time": encoded.sound_times,
        "end_time": encoded.sound_times,
        "instrumentation_scope": encoded.scopes,
    },
    {
        "name": NAMES,
        "context": encoded.impossible_contexts | st.none(),
        "parent": encoded.impossible_contexts,
        "attributes": encoded.attributes,
        "kind": st.sampled_from([None, 1]),
        "status": st.sampled_from(
            [None, Status(ERROR), Status(ERROR, "\ud800"), Status(ERROR, 0), 1]
        ),
        "start_time": encoded.times,
        "end_time": encoded.times,
    },
)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Without the SDK's warnings about odd values."""
    with encoded.quietly():
        yield


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """One encoder for all tests, so that its caches are used."""
    made = encoding.span_encoder()
    assert made is not None
    return made


RESOURCE, SCOPE = Resource({}), InstrumentationScope("x")
LINKED = SpanContext(3, 4, is_remote=True)
ODD = [
    *({"_name": each} for each in encoded.NO_TEXTS),
    *({"_start_time": each} for each in encoded.NO_TIMES),
    *({"_end_time": each} for each in encoded.NO_TIMES),
    *({"_kind": each} for each in (None, 0, 1, StatusCode.OK)),
    *({"_status": each} for each in (None, 1, Status(ERROR, 0), Status(ERROR, ""), Status(ERROR))),
    *({"_status": Status(StatusCode.UNSET, each)} for each in ("", 0, "\ud800")),
    *({"_context": each} for each in (None, *encoded.IMPOSSIBLE)),
    *({"_parent": each} for each in (None, 0, (), 1, *encoded.IMPOSSIBLE)),
    *({"_attributes": each} for each in (None, {}, (), [], 1, {1: 1}, {None: 1}, {b"a": 1})),
    *({"_events": [Event(each, None, 1)]} for each in encoded.NO_TEXTS),
    *({"_events": [Event("x", None, each)]} for each in encoded.NO_TIMES),
    *({"_events": [Event("x", each, 1)]} for each in ((), [], 0, 1, {1: 1})),
    *({"_links": [Link(each)]} for each in (None, *encoded.IMPOSSIBLE)),
    *({"_links": [Link(LINKED, each)]} for each in ((), [], 0, 1, {1: 1})),
    *({each: 1} for each in ("_events", "_links")),
    *({each: None} for each in ("_events", "_links")),
    *({"_resource": each} for each in (None, 0, SCOPE)),
    *({"_instrumentation_scope": each} for each in (0, RESOURCE)),
]


@pytest.mark.parametrize("odd", ODD, ids=" ".join)
def test_span_with_an_unusual_field_is_encoded_as_officially(
    encoder: Encoder, odd: dict[str, Any]
) -> None:
    """One field is unusual: it is encoded, left out or raises, as officially."""
    span = encoded.ended_span(attributes={"a": 1}, parent=LINKED)
    vars(span).update(odd)
    encoded.assert_same(encoder, [span])


@encoded.many
@given(span=spans)
def test_any_span_is_encoded_as_officially(encoder: Encoder, span: ReadableSpan) -> None:
    """With any fields that a span may have."""
    encoded.assert_same(encoder, [span])


class Recorded:
    """Spans that the SDK has recorded under some limits."""

    def __init__(self, limits: tuple[int, int, int], resource: Resource, scope: str) -> None:
        self.spans: list[ReadableSpan] = []
        attributes, length, most = limits
        provider = TracerProvider(
            resource=resource,
            shutdown_on_exit=False,
            span_limits=SpanLimits(attributes, most, most, max_attribute_length=length),
        )
        processor: Any = SpanProcessor()
        processor.on_end = self.spans.append
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer(scope, "1", "url", {"a": 1})

    def record(self, draw: Any) -> None:
        """Record one more span, with everything that the API can set."""
        mappings = encoded.sound_mappings
        contexts = draw(st.lists(encoded.contexts, max_size=3))
        parent = draw(st.none() | encoded.contexts)
        span = self._tracer.start_span(
            draw(encoded.sound_texts),
            Context() if parent is None else set_span_in_context(NonRecordingSpan(parent)),
            draw(st.sampled_from(SpanKind)),
            draw(mappings),
            [Link(each, draw(mappings)) for each in contexts],
            draw(st.integers(0, 2**64 - 1)),
        )
        span.set_attributes(draw(mappings))
        for name in draw(st.lists(encoded.sound_texts, max_size=3)):
            span.add_event(name, draw(mappings), draw(st.integers(1, 2**64 - 1)))
        if draw(st.booleans()):
            span.set_status(StatusCode.ERROR, draw(encoded.sound_texts))
        span.end(draw(st.integers(1, 2**64 - 1)))


limits = st.tuples(
    st.sampled_from([128, 2, 0]),
    st.sampled_from([SpanLimits.UNSET, 3]),
    st.sampled_from([128, 1, 0]),
)


@encoded.many
@given(data=st.data())
def test_batch_of_recorded_spans_is_encoded_as_officially(
    encoder: Encoder, data: st.DataObject
) -> None:
    """Resources and scopes have the official order; the official encoder is not called."""
    batch: list[ReadableSpan] = []
    for scope in data.draw(st.lists(st.sampled_from(["shop", "till"]), max_size=4)):
        recorded = Recorded(data.draw(limits), data.draw(encoded.resources), scope)
        recorded.record(data.draw)
        batch += recorded.spans
    batch = data.draw(st.permutations(batch * 2))
    encoded.assert_same(encoder, batch)
    for span in batch:
        encoder.signal.encode(span)


@encoded.many
@given(batch=st.lists(spans, max_size=4))
def test_any_batch_of_spans_is_encoded_as_officially(
    encoder: Encoder, batch: list[ReadableSpan]
) -> None:
    """One span may make the official encoder fail for all, or one attribute may be left out."""
    encoded.assert_same(encoder, batch)


@pytest.mark.parametrize("kind", [list, tuple, dict])
@pytest.mark.parametrize("depth", [1, 15, 16, 17, 30, 32, 33, 47, 48, 49, 50, 96, 99, 101, 150])
def test_nested_values_are_encoded_as_officially(encoder: Encoder, kind: type, depth: int) -> None:
    """A value nested more deeply than a protobuf message may be is left out."""
    value: Any = "a"
    for _ in range(depth):
        value = {"a": value} if kind is dict else kind([value])
    span = encoded.ended_span(attributes={"deep": value, "flat": 1})
    encoded.assert_same(encoder, [span])


def test_equal_values_of_different_types_are_encoded_by_type(encoder: Encoder) -> None:
    """1, True, 1.0 and a member of an enumeration keep their types, in any order."""
    equal = [1, True, 1.0, encoded.Number.ONE, 0, False, 0.0, -0.0, "a", encoded.Word.A]
    for first, second in permutations(equal, 2):
        batch = [encoded.ended_span(attributes={"key": each}) for each in (first, second)]
        encoded.assert_same(encoder, batch)


def test_equal_scopes_are_grouped_as_officially(encoder: Encoder) -> None:
    """Equal scopes are exported as the first of them in a batch; other batches do not matter."""
    scopes = [InstrumentationScope("x", attributes={"a": each}) for each in (1, True, 1.0)]
    for first, second in permutations(scopes, 2):
        spans = [
            encoded.ended_span(instrumentation_scope=each) for each in (first, None, second, first)
        ]
        encoded.assert_same(encoder, spans[:1])
        encoded.assert_same(encoder, spans[2:3])
        encoded.assert_same(encoder, spans)
