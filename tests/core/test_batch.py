"""The spans of several messages that one call processes."""

from __future__ import annotations

from opentelemetry import trace

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import current_delivery
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


def test_batch_of_three_gives_each_message_a_span_in_its_own_trace(queue: Queue) -> None:
    """The first span has the size and links to the other messages; they link to it."""
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


def test_batch_of_one_has_size_and_no_link(queue: Queue) -> None:
    """A batch of one message has its size, and nothing to link to."""
    [operation] = queue.telemetry.start_batch(deliveries({}))
    queue.telemetry.end_process(operation, SUCCEEDED)
    [span] = queue.spans()
    assert (span.attributes[SIZE], linked(span)) == (1, [])


def test_batch_of_thirty_links_to_twenty(queue: Queue) -> None:
    """A span has at most 20 links, however large the batch is."""
    carriers = [queue.send(id=f"m{number}") for number in range(30)]
    for operation in queue.telemetry.start_batch(deliveries(*carriers))[::-1]:
        queue.telemetry.end_process(operation, SUCCEEDED)
    spans = queue.spans("process")
    assert len(spans) == 30
    assert len(linked(spans[-1])) == 20
    assert spans[-1].attributes[SIZE] == 30


def test_batch_member_with_relation_none_is_not_linked(queue: Queue) -> None:
    """A message with the relation `none`, or without a context, is not linked to."""
    carriers = [queue.send(), queue.send(relation="none"), {}]
    for operation in queue.telemetry.start_batch(deliveries(*carriers))[::-1]:
        queue.telemetry.end_process(operation, SUCCEEDED)
    unwanted = queue.spans("send")[1].context.span_id
    assert unwanted not in linked(queue.spans("process")[-1])


def test_batch_without_provider_runs_in_first_context(queue: Queue) -> None:
    """What the call sends belongs to the trace of the first message."""
    carrier = queue.send()
    silent = QueueTelemetry("celery")
    silent.connect = lambda: False  # type: ignore[method-assign]
    operations = silent.start_batch(deliveries(carrier, queue.send()))
    current = trace.get_current_span().get_span_context()
    for operation in reversed(operations):
        silent.end_process(operation, SUCCEEDED)
    assert current.span_id == queue.spans("send")[0].context.span_id
    assert queue.spans("process") == []


def test_batch_without_deliveries_returns_no_operations(queue: Queue) -> None:
    """A batch that cannot be recorded raises nothing."""
    assert queue.telemetry.start_batch([]) == []
