"""Carriers with invalid or malicious values: the task runs, under a valid span."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.messages import SUCCEEDED, Ending, Outcome, Route, Workflow
from tests.core.conftest import Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

ours = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
KEYS = st.sampled_from(["traceparent", "tracestate", "baggage", "otq", "b3"])
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
texts = st.text(st.characters(), max_size=200)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.binary(max_size=200)
    | st.sampled_from(["\0", "\ud800", TRACEPARENT, TRACEPARENT.encode(), "00-" + "0" * 52]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=4,
)
MEGABYTE = 2**20


@pytest.fixture
def longest(caplog: pytest.LogCaptureFixture) -> Iterator[list[int]]:
    """The length of the longest thing that was logged."""
    caplog.set_level(logging.INFO)
    found: list[int] = []
    yield found
    found.append(max((len(record.getMessage()) for record in caplog.records), default=0))
    assert max(found) <= 1024


def runs(queue: Queue, carrier: Any) -> None:
    """The delivery gets a valid span, is left without a trace, and can be tried again."""
    operation = queue.start(carrier)
    again: dict[str, object] = {}
    queue.telemetry.requeue(operation, again)
    queue.send(again)
    queue.telemetry.end_process(operation, SUCCEEDED)
    span = queue.spans("process")[-1]
    assert span.context.is_valid
    assert encode_spans(queue.spans()).SerializeToString()
    queue.exporter.clear()


@pytest.mark.usefixtures("longest")
@ours
@given(carrier=st.dictionaries(KEYS, values))
def test_carrier_with_any_values_gives_a_valid_span(queue: Queue, carrier: dict[str, Any]) -> None:
    """Any value under our keys: never an exception, always a span that can be exported."""
    runs(queue, carrier)


@ours
@given(carrier=st.one_of(values, st.dictionaries(values.filter(lambda v: v is None), values)))
def test_carrier_that_is_no_mapping_counts_as_empty(queue: Queue, carrier: Any) -> None:
    """A carrier of another type counts as an empty one."""
    runs(queue, carrier)


@pytest.mark.parametrize("key", ["traceparent", "tracestate", "baggage", "otq", "b3"])
@pytest.mark.parametrize(
    "value",
    [
        "x" * MEGABYTE,
        "k=v," * (MEGABYTE // 4),
        b"\xff" * MEGABYTE,
        "é" * 8000,
        "no equals sign " * 400,
        "k" * 5000 + "=v",
        "=" * 4000,
        "a=" + "€" * 2000,
        "a=b, c d=" + "e" * 5000,
        ["a"] * 9,
        "\0" * 3000,
        "%ED%A0%80=%ED%A0%80",
    ],
    ids=lambda value: f"{type(value).__name__}{len(value)}",
)
def test_large_carrier_value_is_not_logged(
    queue: Queue, caplog: pytest.LogCaptureFixture, key: str, value: object
) -> None:
    """No value over a kilobyte is logged, by us or by a propagator that we call."""
    caplog.set_level(logging.DEBUG)
    runs(queue, {"traceparent": TRACEPARENT} | {key: value})
    assert all(len(record.getMessage()) <= 1024 for record in caplog.records)


def test_invalid_header_leaves_other_headers_readable(queue: Queue) -> None:
    """Invalid baggage leaves the trace; an invalid trace leaves the wait."""
    span = queue.process({"traceparent": TRACEPARENT, "baggage": b"\xff" * MEGABYTE})
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    carrier = queue.send()
    queue.clock.advance(2)
    span = queue.process(carrier | {"traceparent": 5})
    assert span.parent is None
    assert span.attributes["taskqueue.task.wait"] == 2.0


def test_header_as_bytes_is_read_as_text(queue: Queue) -> None:
    """Some AMQP clients deliver header values as bytes."""
    span = queue.process({"traceparent": TRACEPARENT.encode()})
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"


def test_getter_returns_only_keys_that_are_text() -> None:
    """Some propagators read every key with a prefix; keys that are no text are left out."""
    assert propagation._GETTER.keys({"a": 1, 5: 2, b"b": 3}) == ["a"]  # type: ignore[dict-item]


def test_long_baggage_keeps_its_valid_members() -> None:
    """Only the members that the propagator would refuse are left out."""
    good = "long=" + "v" * 2000
    incoming = propagation.read({"baggage": f"a=1,{good},{'bad ' * 500},b=2"})
    assert baggage.get_all(incoming.context) == {"a": "1", "long": "v" * 2000, "b": "2"}


@pytest.mark.usefixtures("longest")
@ours
@given(text=texts | st.from_regex(r"\A[0-9a-f]{1,16}(;[a-z][0-9a-f:;]{0,70}){0,6}\Z"))
def test_any_envelope_gives_an_exportable_span(queue: Queue, text: str) -> None:
    """Our own key is checked like others: spans can be exported, waits are not negative."""
    carrier = {"traceparent": TRACEPARENT, "otq": text}
    operation = queue.start(carrier)
    queue.telemetry.end_process(operation, SUCCEEDED)
    [span] = queue.spans("process")
    assert encode_spans([span]).SerializeToString()
    assert span.attributes.get("taskqueue.task.wait", 0) >= 0
    assert len(span.links) <= 20
    queue.exporter.clear()


@ours
@given(text=st.text(st.characters(), max_size=600), number=st.integers())
def test_any_fact_of_a_message_can_be_exported(queue: Queue, text: str, number: int) -> None:
    """Ids, names and numbers of a message cannot make a batch of spans fail."""
    queue.clock.now_ns = 1_700_000_000 * 10**9
    route = Route(system=text, destination=text, task=text, server_address=text)
    workflow = Workflow(kind=text, id=text, step=None)
    ending = Ending(outcome=Outcome.DEAD_LETTER, reason=text, dead_letter_queue=text)
    carrier = queue.send(route=route, id=text, conversation_id=text, workflow=workflow)
    span = queue.process(
        carrier,
        ending,
        route=route,
        id=text,
        conversation_id=text,
        workflow=workflow,
        attempt=number,
        priority=number,
        max_attempts=number,
    )
    queue.process(carrier, Ending(outcome=Outcome.LOST, reason=text), id=text)
    assert encode_spans(queue.spans()).SerializeToString()
    for value in span.attributes.values():
        assert not isinstance(value, str) or len(value) <= 256
    queue.exporter.clear()


def test_id_that_is_no_text_is_exported_as_text(queue: Queue) -> None:
    """An id of another type is exported as its `str`."""
    assert queue.process({}, id=[1]).attributes["messaging.message.id"] == "[1]"
