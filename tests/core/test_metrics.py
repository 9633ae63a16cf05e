"""Metrics agree with the spans, are optional where they cost, and never have an id."""

from __future__ import annotations

import pytest

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Message, Outcome
from tests.core.conftest import ROUTE, START, Queue

DEFAULT = {
    "messaging.client.sent.messages",
    "messaging.client.consumed.messages",
    "messaging.client.operation.duration",
    "messaging.process.duration",
    "taskqueue.task.wait",
    "taskqueue.worker.in_flight",
    "taskqueue.worker.longest_running",
}


def test_successful_message_has_the_default_metrics_only(queue: Queue) -> None:
    """An ordinary message has these metrics and no others."""
    queue.process(queue.send())
    assert queue.metrics() == DEFAULT


def test_duration_equals_that_of_its_span(queue: Queue) -> None:
    """To the nanosecond, for sends and deliveries."""
    carrier: dict[str, object] = {}
    send = queue.telemetry.start_send(Message(route=ROUTE, id="m"), carrier)
    queue.clock.advance(0.123456789)
    queue.telemetry.end_send(send)
    queue.process(carrier, takes=9.87654321)
    for name, metric in (
        ("send", "messaging.client.operation.duration"),
        ("process", "messaging.process.duration"),
    ):
        [span], [point] = queue.spans(name), queue.points(metric)
        assert point.sum == (span.end_time - span.start_time) / 1e9
        assert point.attributes["messaging.operation.name"] == name


def test_exemplar_has_the_id_of_the_measured_span(queue: Queue) -> None:
    """Also if another span is current, or none."""
    outer = queue.telemetry.start_send(Message(route=ROUTE, id="a"), {})
    inner = queue.telemetry.start_send(Message(route=ROUTE, id="b"), {})
    queue.telemetry.end_send(outer)
    queue.telemetry.end_send(inner)
    queue.process(queue.send(), takes=1)
    queue.telemetry.record_undelivered(
        Delivery(route=ROUTE, id="c"), {}, Ending(outcome=Outcome.EXPIRED)
    )
    found = queue.exemplars()
    sent, processed = (
        {span.context.span_id for span in queue.spans(name)} for name in ("send", "process")
    )
    assert found["messaging.client.operation.duration"] < sent
    assert found["messaging.process.duration"] == processed
    last = queue.spans("process")[-1].context.span_id
    assert found["taskqueue.task.cancellations"] == {last}


def test_optional_metrics_are_recorded_by_name(queue: Queue) -> None:
    """Prefetch wait and completion are recorded if their names are given."""
    queue = queue.sibling(
        metrics=frozenset({"taskqueue.task.prefetch_wait", "taskqueue.task.completion"})
    )
    operation = queue.start(queue.send())
    queue.clock.advance(1)
    again: dict[str, object] = {}
    queue.telemetry.requeue(operation, again, eta=START + 3)
    queue.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
    assert queue.points("taskqueue.task.completion") == []
    queue.clock.advance(3)
    queue.process(again, received_at=START + 2, takes=2)
    [completion] = queue.points("taskqueue.task.completion")
    assert completion.sum == pytest.approx(6.0, abs=2e-3)
    assert completion.attributes["taskqueue.task.outcome"] == "success"
    [prefetch] = queue.points("taskqueue.task.prefetch_wait")
    assert prefetch.sum == pytest.approx(1.0, abs=2e-3)
    queue.process({})
    assert queue.points("taskqueue.task.completion")[0].count == 1


def test_histograms_have_buckets_from_5_ms_to_1_h(queue: Queue) -> None:
    """Every duration has the same bucket boundaries."""
    queue.process(queue.send())
    for metric in ("messaging.process.duration", "messaging.client.operation.duration"):
        assert queue.points(metric)[0].explicit_bounds == semconv.DURATION_BUCKETS


def test_no_metric_has_an_id_or_a_host(queue: Queue) -> None:
    """Message id, conversation, process, worker and host are attributes of spans only."""
    queue.process(
        queue.send(id="secret-id", conversation_id="secret-id"),
        Ending(outcome=Outcome.RETRY),
        id="secret-id",
        conversation_id="secret-id",
        worker_name="secret-id",
    )
    for metric in queue.metrics():
        for point in queue.points(metric):
            assert "secret-id" not in point.attributes.values()
            assert not {"process.pid", "server.address"} & set(point.attributes)


def test_unsampled_delivery_is_counted_and_timed(queue: Queue) -> None:
    """Metrics do not depend on the sampler."""
    unsampled = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    operation = queue.start(unsampled)
    queue.telemetry.end_process(operation, SUCCEEDED)
    assert queue.spans() == []
    assert queue.points("messaging.process.duration")[0].count == 1


def test_retry_of_scheduled_task_records_no_drift(queue: Queue) -> None:
    """Only the first attempt can be late for the schedule; a backoff is no drift."""
    carrier = queue.send(trigger="schedule")
    queue.process(carrier, attempt=2)
    assert queue.points("taskqueue.schedule.drift") == []
    queue.process(carrier, attempt=1)
    assert [point.count for point in queue.points("taskqueue.schedule.drift")] == [1]
