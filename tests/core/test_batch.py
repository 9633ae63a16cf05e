"""Several messages that one call processes: a span each, linked, the first one current."""

from __future__ import annotations

from opentelemetry import trace

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.spans.operation import current_delivery
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.core.conftest import ROUTE, START, Queue

SIZE = "messaging.batch.message_count"


def deliveries(*carriers: dict[str, object]) -> list[tuple[Delivery, dict[str, object]]]:
    """A delivery for each."""
    return [
        (Delivery(route=ROUTE, id=f"m{number}"), carrier) for number, carrier in enumerate(carriers)
    ]


def linked(span: object) -> list[int]:
    """The span ids that a span links to."""
    return [link.context.span_id for link in span.links]  # type: ignore[attr-defined]


def test_each_message_has_a_span_in_a_trace_of_its_own(queue: Queue) -> None:
    """The first says how many there are; it and the others know of one another."""
    carriers = [queue.send(id=f"m{number}") for number in range(3)]
    queue.clock.advance(4)
    operations = queue.telemetry.start_batch(deliveries(*carriers))
    assert [point.value for point in queue.points("taskqueue.worker.in_flight")] == [3]
    assert current_delivery.get() is operations[0]
    queue.send(id="of the call")
    queue.clock.advance(2)
    endings = [SUCCEEDED, Ending(outcome=Outcome.FAILURE), SUCCEEDED]
    for operation, ending in reversed(list(zip(operations, endings, strict=True))):
        queue.telemetry.end_process(operation, ending)
    assert current_delivery.get() is None
    sends, spans = queue.spans("send"), queue.spans("process")[::-1]
    assert [span.parent.span_id for span in spans] == [send.context.span_id for send in sends[:3]]
    assert sends[3].parent.span_id == spans[0].context.span_id
    assert len({span.context.trace_id for span in spans}) == 3
    assert [span.attributes.get(SIZE) for span in spans] == [3, None, None]
    created = [send.context.span_id for send in sends]
    first = spans[0].context.span_id
    assert set(created[1:3]) <= set(linked(spans[0]))
    assert [first in linked(span) for span in spans] == [False, True, True]
    assert [span.attributes["taskqueue.task.outcome"] for span in spans] == [
        "success",
        "failure",
        "success",
    ]
    assert {span.start_time for span in spans} == {(START + 4) * 1e9}
    assert [point.value for point in queue.points("taskqueue.worker.in_flight")] == [0]


def test_a_batch_of_one_is_a_batch(queue: Queue) -> None:
    """It has nobody to link to."""
    [operation] = queue.telemetry.start_batch(deliveries({}))
    queue.telemetry.end_process(operation, SUCCEEDED)
    [span] = queue.spans()
    assert (span.attributes[SIZE], linked(span)) == (1, [])


def test_links_of_a_batch_are_at_most_twenty(queue: Queue) -> None:
    """However many messages there are."""
    carriers = [queue.send(id=f"m{number}") for number in range(30)]
    for operation in queue.telemetry.start_batch(deliveries(*carriers))[::-1]:
        queue.telemetry.end_process(operation, SUCCEEDED)
    spans = queue.spans("process")
    assert len(spans) == 30
    assert len(linked(spans[-1])) == 20
    assert spans[-1].attributes[SIZE] == 30


def test_who_wants_no_relation_gets_none(queue: Queue) -> None:
    """And a message without a sender's context has nothing to link to."""
    carriers = [queue.send(), queue.send(relation="none"), {}]
    for operation in queue.telemetry.start_batch(deliveries(*carriers))[::-1]:
        queue.telemetry.end_process(operation, SUCCEEDED)
    unwanted = queue.spans("send")[1].context.span_id
    assert unwanted not in linked(queue.spans("process")[-1])


def test_where_nobody_listens_the_first_context_is_handed_on(queue: Queue) -> None:
    """What the call sends belongs to the trace of the message that it was called for first."""
    carrier = queue.send()
    silent = QueueTelemetry("celery")
    silent.connect = lambda: False  # type: ignore[method-assign]
    operations = silent.start_batch(deliveries(carrier, queue.send()))
    here = trace.get_current_span().get_span_context()
    for operation in reversed(operations):
        silent.end_process(operation, SUCCEEDED)
    assert here.span_id == queue.spans("send")[0].context.span_id
    assert queue.spans("process") == []


def test_a_batch_that_cannot_be_told_of_goes_ahead(queue: Queue) -> None:
    """Whatever it is made of."""
    assert queue.telemetry.start_batch([]) == []
