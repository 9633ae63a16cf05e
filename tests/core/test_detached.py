"""Deliveries that other code runs are recorded, or stood in for; ends have the time they had."""

from __future__ import annotations

import threading

import pytest
from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.spans.operation import current_delivery
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.core.conftest import ROUTE, START, Queue

LOST = Ending(outcome=Outcome.LOST)
DELIVERY = Delivery(route=ROUTE, id="m1")


@pytest.mark.parametrize(
    ("ended_at", "seconds"),
    [(None, 10), (START + 7, 3), (START + 1, 0), (START + 99, 10)],
    ids=["now", "earlier", "before its start", "in the future"],
)
def test_an_end_that_is_learned_late_is_told_with_its_time(
    queue: Queue, ended_at: float | None, seconds: float
) -> None:
    """Span and durations go by it; never before the start, never later than now."""
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


def test_what_nobody_ran_may_have_ended_before_it_is_told(queue: Queue) -> None:
    """As for a delivery that ran here."""
    queue.clock.advance(10)
    queue.telemetry.record_undelivered(DELIVERY, {}, LOST, START + 2, START + 5)
    [span] = queue.spans()
    assert (span.start_time, span.end_time) == ((START + 2) * 1e9, (START + 5) * 1e9)


@pytest.mark.parametrize("relation", ["child", "link", "none", None])
def test_who_stands_in_for_a_delivery_means_its_span(queue: Queue, relation: str | None) -> None:
    """Whichever trace the span is in, its own trace or the sender's; with no sender, too."""
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


def test_the_state_of_the_trace_goes_along(queue: Queue) -> None:
    """As it does from the span itself."""
    carrier: dict[str, object] = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=1",
    }
    with queue.telemetry.reference_process(DELIVERY._replace(span_id=0xABC), carrier).inside():
        here = trace.get_current_span().get_span_context()
    assert here.trace_state.get("vendor") == "1"
    assert here.span_id == 0xABC


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), ProxyTracerProvider(), None])
def test_a_span_that_nobody_can_name_is_stood_in_for_by_the_send(
    queue: Queue, provider: object
) -> None:
    """No id was chosen, or the tracer takes none: the creation context is the nearest."""
    chosen, telemetry = None, queue.telemetry
    if provider is not None:
        chosen = 0xABC
        telemetry = QueueTelemetry(
            "celery", tracer_provider=provider, meter_provider=queue.meter_provider
        )
    carrier = queue.send()
    with telemetry.reference_process(DELIVERY._replace(span_id=chosen), carrier).inside():
        here = trace.get_current_span().get_span_context()
    assert here.span_id == queue.spans("send")[0].context.span_id


def test_where_nobody_listens_the_context_is_handed_on(queue: Queue) -> None:
    """What a hook sends belongs to the sender's trace all the same."""
    carrier = queue.send()
    silent = QueueTelemetry("celery", set_up=lambda: None)
    silent.connect = lambda: False  # type: ignore[method-assign]
    for operation in (
        silent.reference_process(DELIVERY, carrier),
        silent.open_process(DELIVERY, carrier),
    ):
        with operation.inside():
            here = trace.get_current_span().get_span_context()
        silent.end_process(operation, LOST)
        assert here.span_id == queue.spans("send")[0].context.span_id
    assert len(queue.spans()) == 1


def test_a_delivery_that_runs_elsewhere_is_not_in_flight_here(queue: Queue) -> None:
    """It is current only for what belongs to it, and then it records."""
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


def test_two_threads_may_be_inside_at_once(queue: Queue) -> None:
    """Each leaves its own way, also after the end."""
    operation, entered, leave = (
        queue.telemetry.open_process(DELIVERY, {}),
        threading.Event(),
        threading.Event(),
    )
    after: list[object] = []

    def work() -> None:
        with operation.inside():
            entered.set()
            leave.wait(10)
        after.append(current_delivery.get())

    thread = threading.Thread(target=work)
    thread.start()
    assert entered.wait(10)
    with operation.inside():
        queue.telemetry.end_process(operation, SUCCEEDED)
    leave.set()
    thread.join()
    assert [*after, current_delivery.get()] == [None, None]
    assert len(queue.spans()) == 1
