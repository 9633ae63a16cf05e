"""The spans of acks, nacks and rejects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome, Workflow
from otel_queue_plugins.core.operation import ProcessOperation
from tests.core.conftest import ROUTE, Queue

if TYPE_CHECKING:
    from otel_queue_plugins.core.spans.settle import Settlement

CREATION = {
    "messaging.system": "redis",
    "messaging.destination.name": "shop",
    "messaging.message.id": "m1",
    "server.address": "queue.example",
    "server.port": 6379,
    "taskqueue.framework": "celery",
    "taskqueue.task.name": "shop.tasks.ship",
}


@pytest.mark.parametrize("settlement", ["ack", "nack", "reject"])
def test_settle_span_is_child_of_process_span(queue: Queue, settlement: Settlement) -> None:
    """Named after the queue, current during the call, with the attributes of every span."""
    carrier = queue.send()
    operation = queue.start(carrier)
    queue.telemetry.end_process(operation, SUCCEEDED)
    settle = queue.telemetry.start_settle(operation, settlement)
    assert trace.get_current_span() is settle.span
    queue.clock.advance(2)
    queue.telemetry.end_settle(settle)
    assert not trace.get_current_span().get_span_context().is_valid
    process, span = queue.spans()[-2:]
    assert (span.name, span.kind) == (f"{settlement} shop", SpanKind.CLIENT)
    assert span.parent.span_id == process.context.span_id
    assert span.context.trace_id == process.context.trace_id
    assert span.links == ()
    assert span.end_time - span.start_time == 2 * 10**9
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        **CREATION,
        "messaging.operation.name": settlement,
        "messaging.operation.type": "settle",
    }


def test_settle_span_has_the_conversation_id(queue: Queue) -> None:
    """A step of a workflow has its conversation id on this span, too."""
    carrier = queue.send(workflow=Workflow(kind="pipeline", id="p1", step=1))
    for facts, identity in (({}, "p1"), ({"conversation_id": "c1"}, "c1")):
        operation = queue.start(carrier, **facts)
        queue.telemetry.end_process(operation, SUCCEEDED)
        queue.telemetry.end_settle(queue.telemetry.start_settle(operation, "ack"))
        span = queue.spans("ack")[-1]
        assert span.attributes["messaging.message.conversation_id"] == identity


def test_settle_call_that_raises_sets_error_without_event(queue: Queue) -> None:
    """The framework logs the exception; the span has its type and message."""
    operation = queue.start(queue.send())
    queue.telemetry.end_process(operation, SUCCEEDED)
    settle = queue.telemetry.start_settle(operation, "ack")
    queue.clock.advance(-1)
    queue.telemetry.end_settle(settle, ConnectionError("gone"))
    (span,) = queue.spans("ack")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "gone")
    assert span.attributes["error.type"] == "ConnectionError"
    assert span.attributes["exception.message"] == "gone"
    assert span.events == ()
    assert span.end_time == span.start_time


def test_settle_of_undelivered_message_is_child_of_its_span(queue: Queue) -> None:
    """A delivery that no code ran has a process span as well."""
    operation = queue.telemetry.record_undelivered(
        Delivery(route=ROUTE, id="m1"), queue.send(), Ending(outcome=Outcome.UNKNOWN_TASK)
    )
    queue.telemetry.end_settle(queue.telemetry.start_settle(operation, "nack"))
    process, span = queue.spans()[-2:]
    assert span.parent.span_id == process.context.span_id


def test_settle_without_process_span_exports_nothing(queue: Queue) -> None:
    """A delivery that began without a provider has no settle span."""
    settle = queue.telemetry.start_settle(ProcessOperation(), "ack")
    queue.telemetry.end_settle(settle, ValueError())
    assert queue.spans() == []
    assert not queue.points("messaging.client.consumed.messages")
