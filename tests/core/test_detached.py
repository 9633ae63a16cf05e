"""Deliveries that other code runs: recorded with their own times, or referred to."""

from __future__ import annotations

import threading

import pytest
from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import current_delivery
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.core.conftest import ROUTE, START, Queue

LOST = Ending(outcome=Outcome.LOST)
DELIVERY = Delivery(route=ROUTE, id="m1")


@pytest.mark.parametrize(
    ("ended_at", "seconds"),
    [(None, 10), (START + 7, 3), (START + 1, 0), (START + 99, 10)],
    ids=["now", "earlier", "before its start", "in the future"],
)
def test_end_with_explicit_time_is_bounded_by_start_and_now(
    queue: Queue, ended_at: float | None, seconds: float
) -> None:
    """Span, events and duration use the time; never before the start, never after now."""
    queue.clock.advance(4)
    operation = queue.telemetry.start_process(DELIVERY, {})
    queue.clock.advance(10)
    queue.telemetry.end_process(operation, LOST, ended_at)
    [span] = queue.spans()
    assert span.start_time == (START + 4) * 1e9
    assert span.end_time - span.start_time == seconds * 1e9
    assert {event.timestamp for event in span.events} == {span.end_time}
    [point] = queue.points("messaging.process.duration")
    assert point.sum == pytest.approx(seconds)


def test_record_undelivered_with_times_uses_them(queue: Queue) -> None:
    """The span has the given start and end."""
    queue.clock.advance(10)
    queue.telemetry.record_undelivered(DELIVERY, {}, LOST, START + 2, START + 5)
    [span] = queue.spans()
    assert (span.start_time, span.end_time) == ((START + 2) * 1e9, (START + 5) * 1e9)


@pytest.mark.parametrize("relation", ["child", "link", "none", None])
def test_reference_process_has_the_ids_of_the_process_span(
    queue: Queue, relation: str | None
) -> None:
    """What runs inside is a child of the span that another process writes, for each relation."""
    carrier = {} if relation is None else queue.send(relation=relation)
    reference = queue.telemetry.reference_process(DELIVERY._replace(span_id=0xABC), carrier)
    with reference.inside():
        queue.send(id="of a hook")
        assert current_delivery.get() is reference
    queue.telemetry.end_process(reference, LOST)
    process = queue.process(carrier, span_id=0xABC)
    sent = queue.spans("send")[-1]
    assert (sent.parent.trace_id, sent.parent.span_id) == (process.context.trace_id, 0xABC)
    assert len(queue.spans("process")) == 1
    assert (process.parent is not None) == (relation == "child")


def test_reference_process_keeps_tracestate(queue: Queue) -> None:
    """The context has the `tracestate` of the message, as the span itself has."""
    carrier: dict[str, object] = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=1",
    }
    with queue.telemetry.reference_process(DELIVERY._replace(span_id=0xABC), carrier).inside():
        current = trace.get_current_span().get_span_context()
    assert current.trace_state.get("vendor") == "1"
    assert current.span_id == 0xABC


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), ProxyTracerProvider(), None])
def test_reference_process_without_chosen_id_has_the_creation_context(
    queue: Queue, provider: object
) -> None:
    """Without a chosen id, or with a tracer that takes none, the send span is the parent."""
    chosen, telemetry = None, queue.telemetry
    if provider is not None:
        chosen = 0xABC
        telemetry = QueueTelemetry(
            "celery", tracer_provider=provider, meter_provider=queue.meter_provider
        )
    carrier = queue.send()
    with telemetry.reference_process(DELIVERY._replace(span_id=chosen), carrier).inside():
        current = trace.get_current_span().get_span_context()
    assert current.span_id == queue.spans("send")[0].context.span_id


def test_detached_delivery_without_provider_runs_in_creation_context(queue: Queue) -> None:
    """What a hook sends still belongs to the sender's trace."""
    carrier = queue.send()
    silent = QueueTelemetry("celery", set_up=lambda: None)
    silent.connect = lambda: False  # type: ignore[method-assign]
    for operation in (
        silent.reference_process(DELIVERY, carrier),
        silent.open_process(DELIVERY, carrier),
    ):
        with operation.inside():
            current = trace.get_current_span().get_span_context()
        silent.end_process(operation, LOST)
        assert current.span_id == queue.spans("send")[0].context.span_id
    assert len(queue.spans()) == 1


def test_open_process_is_current_only_inside(queue: Queue) -> None:
    """It is not in flight in this process, and current only within `inside()`."""
    queue.process({})
    operation = queue.telemetry.open_process(DELIVERY, queue.send(), START)
    assert current_delivery.get() is None
    assert [point.value for point in queue.points("taskqueue.worker.in_flight")] == [0]
    with operation.inside(), operation.inside():
        assert current_delivery.get() is operation
        trace.get_current_span().set_attribute("of.a.hook", 1)
        queue.send(id="of a hook")
    assert current_delivery.get() is None
    assert not trace.get_current_span().get_span_context().is_valid
    queue.telemetry.end_process(operation, SUCCEEDED)
    span = queue.spans("process")[-1]
    assert span.attributes["of.a.hook"] == 1
    assert queue.spans("send")[-1].parent.span_id == span.context.span_id


def test_inside_from_two_threads_restores_both_contexts(queue: Queue) -> None:
    """Each thread leaves for itself, also after the end of the delivery."""
    operation, entered, leave = (
        queue.telemetry.open_process(DELIVERY, {}),
        threading.Event(),
        threading.Event(),
    )
    after: list[object] = []

    def work() -> None:
        with operation.inside():
            entered.set()
            leave.wait(60)
        after.append(current_delivery.get())

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(60)
    with operation.inside():
        queue.telemetry.end_process(operation, SUCCEEDED)
    leave.set()
    thread.join()
    assert [*after, current_delivery.get()] == [None, None]
    assert len(queue.spans()) == 1
