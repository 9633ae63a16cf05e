"""What a message carries: replaced at each enqueue, bounded, and nothing without telemetry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Message, Outcome
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.core.conftest import ROUTE, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

STALE: dict[str, object] = {"traceparent": "old", "tracestate": "old", "baggage": "old", "otq": "0"}


@pytest.fixture
def propagators(request: pytest.FixtureRequest) -> Iterator[None]:
    """The global propagator is made of these."""
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator(request.param))
    yield
    propagate.set_global_textmap(before)


def added(carrier: dict[str, object]) -> int:
    """Bytes of JSON that `carrier` adds to a message with other headers."""
    return len(json.dumps({"id": 1} | carrier, separators=(",", ":"))) - len('{"id":1}')


def test_send_without_baggage_adds_at_most_120_bytes(queue: Queue) -> None:
    """With W3C Trace Context and without baggage there are two keys."""
    carrier = queue.send()
    assert sorted(carrier) == ["otq", "traceparent"]
    assert added(carrier) <= 120


@pytest.mark.parametrize("relation", ["link", "none", "auto"])
def test_send_with_other_relation_adds_at_most_120_bytes(queue: Queue, relation: str) -> None:
    """A relation other than the default fits into the same bound."""
    assert added(queue.sibling(relation=relation).send()) <= 120


def test_send_replaces_or_removes_stale_keys(queue: Queue) -> None:
    """No stale key of ours is sent; keys of others stay."""
    carrier = queue.send({**STALE, "other": [1]})
    assert sorted(carrier) == ["other", "otq", "traceparent"]
    assert not set(STALE.values()) & {value for key, value in carrier.items() if key != "other"}


def test_second_send_of_one_carrier_replaces_first_context(queue: Queue) -> None:
    """The carrier has the context of the span that sent it last."""
    carrier = queue.send()
    queue.send(carrier)
    last = queue.spans("send")[-1]
    assert carrier["traceparent"].split("-")[2] == f"{last.context.span_id:016x}"


@pytest.mark.parametrize(
    "providers",
    [{}, {"tracer_provider": NoOpTracerProvider(), "meter_provider": NoOpMeterProvider()}],
    ids=["nobody", "NoOp"],
)
def test_send_without_provider_leaves_carrier_empty(providers: dict[str, object]) -> None:
    """Without an SDK, or with no-op providers, nothing is added to a message."""
    telemetry = QueueTelemetry("celery", **providers)
    carrier = dict(STALE)
    telemetry.end_send(telemetry.start_send(Message(route=ROUTE, id="m"), carrier))
    assert carrier == {}
    operation = telemetry.start_process(Delivery(route=ROUTE, id="m"), {})
    again: dict[str, object] = dict(STALE)
    telemetry.requeue(operation, again)
    telemetry.end_process(operation, SUCCEEDED)
    assert again == {}


def test_send_with_disabled_sdk_leaves_carrier_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_SDK_DISABLED=true` makes tracers and meters no-op: nothing is added to a message."""
    from opentelemetry.sdk.metrics import MeterProvider

    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    telemetry = QueueTelemetry(
        "celery", tracer_provider=TracerProvider(), meter_provider=MeterProvider()
    )
    carrier: dict[str, object] = {}
    telemetry.end_send(telemetry.start_send(Message(route=ROUTE, id="m"), carrier))
    assert carrier == {}
    assert not telemetry.connect()


def test_worker_without_provider_propagates_context(queue: Queue) -> None:
    """Two traced services with an untraced one between them share a trace, retries included."""
    carrier = queue.send()
    silent = QueueTelemetry("celery")
    operation = silent.start_process(Delivery(route=ROUTE, id="m"), carrier)
    onwards: dict[str, object] = {}
    silent.end_send(silent.start_send(Message(route=ROUTE, id="n"), onwards))
    again: dict[str, object] = {}
    silent.requeue(operation, again)
    silent.end_process(operation, Ending(outcome=Outcome.RETRY))
    assert onwards["traceparent"] == again["traceparent"] == carrier["traceparent"]
    queue.process(again)
    assert queue.spans("process")[0].parent.span_id == queue.spans("send")[0].context.span_id


@pytest.mark.parametrize(
    ("propagators", "keys"),
    [
        ([B3SingleFormat()], {"b3"}),
        ([B3MultiFormat()], {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}),
        ([], set()),
        (
            [W3CBaggagePropagator(), TraceContextTextMapPropagator()],
            {"baggage", "traceparent"},
        ),
    ],
    ids=["b3", "b3multi", "none", "baggage first"],
    indirect=["propagators"],
)
@pytest.mark.usefixtures("propagators")
def test_each_propagator_writes_and_reads_its_keys(queue: Queue, keys: set[str]) -> None:
    """The global propagator writes and reads; without any, the envelope still gives the wait."""
    token = context.attach(baggage.set_baggage("k", "v"))
    carrier = queue.send()
    context.detach(token)
    assert {key.lower() for key in carrier} == keys | {"otq"}
    queue.clock.advance(3)
    operation = queue.start(carrier)
    assert baggage.get_baggage("k") == ("v" if "baggage" in keys else None)
    queue.telemetry.end_process(operation, SUCCEEDED)
    send, process = queue.spans()
    assert (process.parent is not None) == bool(keys)
    assert not keys or process.parent.span_id == send.context.span_id
    assert process.attributes["taskqueue.task.wait"] == 3.0


def test_propagator_that_is_set_later_is_used(queue: Queue) -> None:
    """No key of the replaced propagator is kept."""
    queue.send()
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(B3SingleFormat())
    carrier = queue.send({"b3": "stale"})
    propagate.set_global_textmap(before)
    assert sorted(carrier) == ["b3", "otq"]
    assert carrier["b3"] != "stale"


class ReadOnly(dict[str, object]):
    """A carrier of a framework that changed its mind."""

    def __setitem__(self, key: str, value: object) -> None:
        raise TypeError("read-only")


def test_send_with_read_only_carrier_ends_its_span(queue: Queue) -> None:
    """The message is sent without a context, and its send span ends."""
    operation = queue.telemetry.start_send(Message(route=ROUTE, id="m"), ReadOnly())
    assert trace.get_current_span() is operation.span
    queue.telemetry.end_send(operation)
    [span] = queue.spans()
    assert span.end_time is not None


def test_context_of_one_message_is_not_in_the_next(queue: Queue) -> None:
    """Baggage and trace of one delivery are not those of another."""
    token = context.attach(baggage.set_baggage("user", "1"))
    first = queue.send()
    context.detach(token)
    queue.process(first)
    second = queue.send()
    assert "baggage" not in second
    queue.process(second)
    one, two = queue.spans("process")
    assert one.context.trace_id != two.context.trace_id


@pytest.mark.parametrize(("trace_id", "span_id"), [("0" * 32, "b" * 16), ("a" * 32, "0" * 16)])
def test_traceparent_with_zero_id_counts_as_absent(
    queue: Queue, trace_id: str, span_id: str
) -> None:
    """W3C Trace Context, 3.2.2: a `traceparent` with an id of zeros is invalid."""
    process = queue.process({"traceparent": f"00-{trace_id}-{span_id}-01"})
    assert process.parent is None
    assert not process.links


def test_span_context_of_another_class_is_propagated(queue: Queue) -> None:
    """A tracer that is not the SDK's may have its own class: the propagators write it."""

    class Other(trace.SpanContext):
        pass

    span_context = Other(0xA1, 0xB2, is_remote=False, trace_flags=trace.TraceFlags(1))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span_context)))
    try:
        carrier: dict[str, object] = {}
        queue.telemetry.write_current_context(carrier)
    finally:
        context.detach(token)
    assert carrier == {"traceparent": f"00-{0xA1:032x}-{0xB2:016x}-01"}
