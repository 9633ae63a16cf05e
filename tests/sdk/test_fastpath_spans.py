"""A span made on the fast path is the span the SDK would have made."""

from __future__ import annotations

import json
import os
import random
import threading
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otel_queue_plugins.sdk import fastpath

STARTED, ENDED = 1_700_000_000_000_000_000, 1_700_000_000_123_456_789
ATTRIBUTES = {"messaging.system": "redis", "messaging.message.id": "1", "attempt": 2, "late": 0.5}


class Ids(IdGenerator):
    """The same ids in every run, spread over the whole range."""

    def __init__(self, *, is_random: bool = True) -> None:
        self._random = random.Random(7)
        self._is_random = is_random

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) or 1

    def is_trace_id_random(self) -> bool:
        return self._is_random


class Asked(Sampler):
    """A sampler of an application: keeps its arguments, adds an attribute and a trace state."""

    def __init__(self, decision: Decision = Decision.RECORD_AND_SAMPLE) -> None:
        self.questions: list[tuple[Any, ...]] = []
        self._decision = decision

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None):
        links = [link.context for link in links]
        self.questions.append((parent_context, trace_id, name, kind, dict(attributes), links))
        changed = {**attributes, "sampler.rule": ["a", "b"], "odd": object}
        return SamplingResult(self._decision, changed, TraceState([("asked", "yes")]))

    def get_description(self) -> str:
        return "Asked"


class Adding(SpanProcessor):
    """An application's span processor: copies attributes from the context, and reads the span."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.exported: list[dict[str, Any]] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.seen += ["start", span.name, dict(span.attributes or {}), parent_context]
        span.set_attribute("added.at.start", "yes")

    def on_end(self, span: Any) -> None:
        self.seen += ["end", span.name, span.context, span.parent, span.kind, span.dropped_links]
        self.seen += [span.dropped_attributes, span.dropped_events, span.instrumentation_scope]
        self.exported.append(json.loads(span.to_json()))


def eager(begin_span: Any) -> Any:
    """`begin_span` with the arguments of `Tracer.start_span`."""

    def start_span(name, parent, kind, attributes, links, at) -> Any:
        local = context.get_current() if parent is None else parent
        return begin_span(name, local, kind, lambda: (attributes, links), at)

    return start_span


class Tracing:
    """A provider of its own, with a way to start spans."""

    def __init__(self, *, shorten: bool, sampler: Sampler = DEFAULT_ON, **options: Any) -> None:
        self.processor = Adding()
        options = {"id_generator": Ids(), "resource": Resource({"service.name": "s"}), **options}
        self.provider = TracerProvider(sampler, shutdown_on_exit=False, **options)
        self.provider.add_span_processor(self.processor)
        self.tracer = self.provider.get_tracer("scope", "1", "https://schema")
        short = fastpath.spans(self.tracer)
        assert short is not None
        self.start: Any = eager(short if shorten else self._begin)
        self.set_attributes: Any = fastpath.set_attributes if shorten else _set_attributes
        self.add_event: Any = fastpath.add_event if shorten else _add_event

    def _begin(self, name, parent, kind, about, at) -> Any:
        return self.tracer.start_span(name, parent, kind, *about(), at)

    def seen(self) -> tuple[list[object], list[dict[str, Any]]]:
        return self.processor.seen, self.processor.exported


def _set_attributes(span: Any, attributes: dict[str, Any]) -> None:
    span.set_attributes(attributes)


def _add_event(span: Any, name: str, at_ns: int) -> None:
    span.add_event(name, None, at_ns)


def both(**options: Any) -> tuple[Tracing, Tracing]:
    """Two equal set-ups: one with the public API, one with the fast path."""
    return Tracing(shorten=False, **options), Tracing(shorten=True, **options)


def parent_of(span_context: SpanContext) -> Context:
    """A context with a span of another process, and something else."""
    return set_span_in_context(NonRecordingSpan(span_context), Context({"other": 1}))


PARENTS = [
    Context(),
    set_span_in_context(INVALID_SPAN, Context()),
    *(
        parent_of(SpanContext(trace_id, 3, remote, TraceFlags(flags), state))
        for remote in (True, False)
        for flags in (0, 1, 2, 3)
        for trace_id in (1, 2**127 + 2**63 + 5)
        for state in (None, TraceState([("vendor", "1")]))
    ),
]
SAMPLERS = [
    ALWAYS_ON,
    ALWAYS_OFF,
    DEFAULT_ON,
    DEFAULT_OFF,
    TraceIdRatioBased(0.5),
    ParentBased(TraceIdRatioBased(0.5)),
    ParentBasedTraceIdRatio(0.5),
    ParentBased(ALWAYS_ON, ALWAYS_OFF, ALWAYS_ON, ALWAYS_OFF, TraceIdRatioBased(0.3)),
    ParentBased(Asked(), Asked(), ALWAYS_ON),
]

clean = st.one_of(st.text(max_size=9), st.integers(), st.floats(), st.booleans())
names = st.text(st.sampled_from("abcd."), min_size=1, max_size=3)
any_value = st.one_of(clean, st.none(), st.lists(st.integers(), max_size=2))
span_contexts = st.builds(
    SpanContext,
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.builds(TraceFlags, st.integers(0, 3)),
    st.sampled_from([None, TraceState([("a", "b")])]),
)
link_arguments = st.tuples(
    span_contexts, st.one_of(st.none(), st.dictionaries(names, any_value, max_size=2))
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.dictionaries(names, clean, max_size=5)),
        st.tuples(st.just("note"), names, st.just(8)),
        st.tuples(st.just("set_attribute"), names, any_value),
        st.tuples(st.just("set_attributes"), st.dictionaries(names, any_value, max_size=3)),
        st.tuples(
            st.just("add_event"), names, st.dictionaries(names, any_value, max_size=2), st.just(9)
        ),
        st.tuples(st.just("add_link"), link_arguments),
        st.tuples(st.just("update_name"), names),
        st.tuples(st.just("record_exception")),
        st.tuples(st.just("set_status"), st.sampled_from(list(StatusCode)), st.none() | names),
        st.tuples(st.just("end")),
    ),
    max_size=8,
)


def apply(tracing: Tracing, span: Any, operation: tuple[Any, ...]) -> None:
    """Do one operation on a span, as our code or an application would."""
    what, *arguments = operation
    if what == "put":
        tracing.set_attributes(span, dict(arguments[0]))
    elif what == "note":
        tracing.add_event(span, *arguments)
    elif what == "add_link":
        span.add_link(*arguments[0])
    elif what == "record_exception":
        span.record_exception(ValueError("bad"), timestamp=7)
    elif what == "set_status":
        span.set_status(
            Status(arguments[0]) if arguments[1] is None else arguments[0], arguments[1]
        )
    elif what == "end":
        span.end(ENDED)
    else:
        getattr(span, what)(*arguments)


@given(
    name=st.text(max_size=5),
    parent=st.sampled_from([None, *PARENTS]),
    kind=st.sampled_from(list(SpanKind)),
    attributes=st.dictionaries(names, clean, max_size=12),
    links=st.lists(link_arguments, max_size=4),
    sequence=operations,
    sampler=st.sampled_from(SAMPLERS),
)
def test_any_span_is_equal_to_that_of_the_sdk(
    name, parent, kind, attributes, links, sequence, sampler
) -> None:
    """After any operations the exported span is the same, and so is what processors see."""
    usual, short = both(sampler=sampler)
    for tracing in (usual, short):
        given_links = [Link(*arguments) for arguments in links]
        span = tracing.start(name, parent, kind, dict(attributes), given_links, STARTED)
        for operation in sequence:
            apply(tracing, span, operation)
        span.end(ENDED)
        tracing.processor.seen += [span.get_span_context(), span.is_recording(), type(span)]
    assert json.dumps(usual.seen(), default=repr) == json.dumps(short.seen(), default=repr)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.get_description()[:40])
def test_sampling_decision_is_that_of_the_sampler(sampler: Sampler) -> None:
    """For every kind of parent the decision and the span context are the same."""
    usual, short = both(sampler=sampler)
    for parent in PARENTS * 3:
        spans = [
            tracing.start("n", parent, SpanKind.CONSUMER, dict(ATTRIBUTES), [], STARTED)
            for tracing in (usual, short)
        ]
        contexts = [(tuple(span.get_span_context()), span.is_recording()) for span in spans]
        assert contexts[0] == contexts[1]
        assert type(spans[0]) is type(spans[1])


def test_application_sampler_gets_the_same_arguments() -> None:
    """It gets the context, ids, name, kind, attributes and links; what it adds is cleaned."""
    questions = []
    for shorten in (False, True):
        sampler = Asked()
        tracing = Tracing(shorten=shorten, sampler=sampler)
        link = Link(SpanContext(5, 6, is_remote=True))
        span = tracing.start("n", PARENTS[-1], SpanKind.PRODUCER, dict(ATTRIBUTES), [link], STARTED)
        span.end(ENDED)
        questions.append((sampler.questions, tracing.seen()))
    assert questions[0] == questions[1]
    (exported,) = questions[1][1][1]
    assert exported["attributes"]["sampler.rule"] == ["a", "b"]


def test_exported_bytes_are_equal_to_those_of_the_sdk() -> None:
    """A span with all there can be on it encodes to the same OTLP message."""
    encoded = []
    for tracing in both():
        link = Link(SpanContext(5, 6, is_remote=True, trace_state=TraceState([("a", "b")])))
        context, kind = PARENTS[-1], SpanKind.CONSUMER
        span = tracing.start("n", context, kind, dict(ATTRIBUTES), [link], STARTED)
        tracing.set_attributes(span, {"late": 1.5, "later": True})
        span.add_event("e", {"a": 1}, 5)
        span.set_status(StatusCode.ERROR, "no")
        span.end(ENDED)
        encoded.append(encode_spans([span._readable_span()]).SerializeToString())
    assert encoded[0] == encoded[1]


def test_span_supports_all_calls_of_an_application() -> None:
    """It is a span of the SDK: a context manager that records exceptions, with all its methods."""
    short = Tracing(shorten=True)
    span = short.start("n", Context(), SpanKind.INTERNAL, dict(ATTRIBUTES), [], STARTED)
    assert isinstance(span, Span)
    assert span.is_recording()
    with pytest.raises(ValueError, match="bad"), span:
        raise ValueError("bad")
    assert not span.is_recording()
    (exported,) = short.processor.exported
    assert exported["status"] == {"status_code": "ERROR", "description": "ValueError: bad"}
    assert [event["name"] for event in exported["events"]] == ["exception"]


def test_span_limits_are_applied() -> None:
    """200 attributes, events and links leave the newest 128 and the number dropped."""
    usual, short = both()
    for tracing in (usual, short):
        attributes = {f"a{number}": number for number in range(120)}
        links = [Link(SpanContext(1, number + 1, is_remote=True)) for number in range(200)]
        span = tracing.start("n", None, SpanKind.INTERNAL, attributes, links, STARTED)
        tracing.set_attributes(span, {f"b{number}": number for number in range(80)})
        for number in range(200):
            span.add_event("e", {"n": number}, 5)
        span.end(ENDED)
    assert usual.seen() == short.seen()
    (exported,) = short.processor.exported
    assert [len(exported[part]) for part in ("attributes", "events", "links")] == [128] * 3
    many = {f"a{number}": number for number in range(150)}
    started = [t.start("n", None, SpanKind.INTERNAL, dict(many), [], 1) for t in (usual, short)]
    assert started[0].to_json() != ""
    assert started[0].attributes == started[1].attributes
    assert started[1].dropped_attributes == started[0].dropped_attributes > 0


def test_event_and_link_limits_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of events and links are left to the SDK's own lists."""
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "1")
    monkeypatch.setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "2")
    usual, short = both()
    for tracing in (usual, short):
        links = [Link(SpanContext(1, number, is_remote=True)) for number in range(1, 5)]
        span = tracing.start("n", None, SpanKind.INTERNAL, {}, links, STARTED)
        span.add_event("a", None, 1)
        span.add_event("b", None, 2)
        span.end(ENDED)
    assert usual.seen() == short.seen()
    assert len(short.processor.exported[0]["links"]) == 2


def test_two_spans_share_no_mutable_state() -> None:
    """An attribute of one span, event or link never appears on another."""
    short = Tracing(shorten=True)
    shared = SpanContext(5, 6, is_remote=True)
    spans = [
        short.start("n", None, SpanKind.INTERNAL, {"a": 1}, [Link(shared)], STARTED)
        for _ in range(2)
    ]
    spans[0].add_event("e")
    spans[0].add_link(SpanContext(7, 8, is_remote=True))
    spans[0].set_status(StatusCode.ERROR, "no")
    short.set_attributes(spans[0], {"b": 2})
    other = json.loads(spans[1].to_json())
    assert other["events"] == []
    assert len(other["links"]) == 1
    assert other["status"] == {"status_code": "UNSET"}
    assert other["attributes"] == {"a": 1, "added.at.start": "yes"}
    with pytest.raises(TypeError):
        spans[0].links[0].attributes["c"] = 3


def test_ended_span_does_not_change(caplog: pytest.LogCaptureFixture) -> None:
    """A late `set_attributes` or `add_event` is dropped with the SDK's warning."""
    short = Tracing(shorten=True)
    span = short.start("n", None, SpanKind.INTERNAL, {}, [], STARTED)
    span.end(ENDED)
    short.set_attributes(span, {"late": 1})
    assert "ended span" in caplog.text
    caplog.clear()
    short.add_event(span, "late", 1)
    assert "ended span" in caplog.text
    assert short.processor.exported[0]["events"] == []
    assert "late" not in short.processor.exported[0]["attributes"]
    assert "late" not in span.attributes


def test_set_attributes_and_add_event_accept_any_span() -> None:
    """Spans that do not record, or are not the SDK's, get the calls of the API."""
    given: list[object] = []

    class Foreign(NonRecordingSpan):
        def set_attributes(self, attributes: Any) -> None:
            given.append(attributes)

        def add_event(self, name: str, attributes: Any = None, timestamp: Any = None) -> None:
            given.append((name, attributes, timestamp))

    for span in (INVALID_SPAN, Foreign(SpanContext(1, 2, is_remote=False))):
        fastpath.set_attributes(span, {"a": 1})
        fastpath.add_event(span, "b", 2)
    assert given == [{"a": 1}, ("b", None, 2)]


def test_unclean_attributes_are_cleaned() -> None:
    """A value that must not be passed is cleaned by the SDK, not exported as it is."""
    usual, short = both()
    for tracing in (usual, short):
        odd: Any = {"list": [1, 2], "object": Status}
        span = tracing.start("n", None, SpanKind.INTERNAL, dict(odd), [], STARTED)
        tracing.set_attributes(span, {"late": [3], "none": None})
        span.end(ENDED)
    assert usual.seen() == short.seen()


def test_span_has_the_resource_of_its_start() -> None:
    """A fork gives the provider a new resource; spans started from then on have it."""
    short = Tracing(shorten=True)
    short.tracer.resource = Resource({"service.instance.id": "child"})
    span = short.start("n", None, SpanKind.INTERNAL, {}, [], STARTED)
    assert span.resource.attributes["service.instance.id"] == "child"


def test_span_ids_come_from_the_current_generator() -> None:
    """The generator may be replaced at any time, and may say that its ids are not random."""
    usual, short = both()
    for tracing in (usual, short):
        tracing.tracer.id_generator = Ids(is_random=False)
    contexts = [
        tuple(tracing.start("n", None, SpanKind.INTERNAL, {}, [], 1).get_span_context())
        for tracing in (usual, short)
    ]
    assert contexts[0] == contexts[1]
    assert contexts[1][3] == TraceFlags(1)


def test_replaced_sampler_is_called() -> None:
    """The tracer's sampler at the start of the span decides."""
    short = Tracing(shorten=True)
    short.tracer.sampler = sampler = Asked(Decision.DROP)
    span = short.start("n", None, SpanKind.INTERNAL, {}, [], STARTED)
    assert not span.is_recording()
    assert len(sampler.questions) == 1


def test_processor_added_later_gets_the_spans() -> None:
    """`add_span_processor` has effect at any time."""
    short = Tracing(shorten=True)
    late = Adding()
    short.provider.add_span_processor(late)
    short.start("n", None, SpanKind.INTERNAL, {}, [], STARTED).end(ENDED)
    assert len(late.exported) == 1


def test_disabled_tracer_records_nothing() -> None:
    """A tracer that is disabled by configuration makes non-recording spans."""
    short = Tracing(shorten=True)
    off = type(short.tracer._tracer_config)(is_enabled=False)
    short.provider._set_tracer_configurator(tracer_configurator=lambda _scope: off)
    span = short.start("n", PARENTS[-1], SpanKind.INTERNAL, {}, [], STARTED)
    assert not span.is_recording()
    assert span.get_span_context().span_id == 3


def test_parent_without_a_span_context_raises() -> None:
    """The error is that of the SDK."""
    short = Tracing(shorten=True)
    odd = set_span_in_context(NonRecordingSpan("odd"), Context())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="SpanContext"):
        short.start("n", odd, SpanKind.INTERNAL, {}, [], STARTED)


def test_span_without_start_time_starts_now() -> None:
    """None means the time of the call, as in the SDK."""
    span = Tracing(shorten=True).start("n", None, SpanKind.INTERNAL, {}, [], None)
    assert span.start_time > STARTED


def test_spans_of_many_threads_are_separate() -> None:
    """Every span has its own attributes."""
    short = Tracing(shorten=True)
    numbers = count()

    def work() -> None:
        for _ in range(200):
            number = next(numbers)
            span = short.start(f"n{number}", None, SpanKind.INTERNAL, {"n": number}, [], STARTED)
            short.set_attributes(span, {"late": number})
            span.end(ENDED)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    exported = short.processor.exported
    assert len({span["context"]["span_id"] for span in exported}) == len(exported) == 800
    for span in exported:
        assert span["attributes"]["n"] == span["attributes"]["late"] == int(span["name"][1:])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_child_records_spans() -> None:
    """The fast path does not depend on the process it was made in."""
    short = Tracing(shorten=True)
    short.start("parent", None, SpanKind.INTERNAL, {"a": 1}, [], STARTED).end(ENDED)
    child = os.fork()
    if child == 0:
        ended = 1
        try:
            short.start("child", None, SpanKind.INTERNAL, {"a": 1}, [], STARTED).end(ENDED)
            ended = [span["name"] for span in short.processor.exported] != ["parent", "child"]
        finally:
            os._exit(int(ended))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
