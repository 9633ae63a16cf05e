"""Polls of the broker: a span for one that returned something, and a count of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind

from otel_queue_plugins.core.messages import BrokerAddress, Fetch
from otel_queue_plugins.core.telemetry import QueueTelemetry

if TYPE_CHECKING:
    from tests.core.conftest import Queue

FETCHES = "taskqueue.fetches"
BROKER = BrokerAddress(system="redis", address="queue.example", port=6379)


def fetch(queue: Queue, **facts: Any) -> Fetch:
    """A poll that has begun now."""
    given: dict[str, Any] = {"broker": BROKER, "destination": "shop", "result": "message"}
    return Fetch(**given | {"started_at": queue.clock() / 1e9} | facts)


def test_poll_that_returned_something_has_span_that_links_to_message(queue: Queue) -> None:
    """It is a root: no message has caused it. It lasts as long as the poll."""
    carrier = queue.send()
    polling = queue.sibling(receive_spans=True)
    made = fetch(queue, size=1, carrier=carrier, message_id="m1")
    queue.clock.advance(2)
    polling.telemetry.record_fetch(made)
    send, span = queue.spans()
    assert (span.name, span.kind, span.parent) == ("receive shop", SpanKind.CLIENT, None)
    assert span.end_time - span.start_time == 2 * 10**9
    assert [link.context.span_id for link in span.links] == [send.context.span_id]
    assert dict(span.attributes) == {
        "messaging.system": "redis",
        "messaging.operation.name": "receive",
        "messaging.operation.type": "receive",
        "messaging.destination.name": "shop",
        "messaging.batch.message_count": 1,
        "messaging.message.id": "m1",
        "server.address": "queue.example",
        "server.port": 6379,
        "taskqueue.framework": "celery",
    }
    assert FETCHES not in queue.metrics()


@pytest.mark.parametrize(
    "broker", [BrokerAddress(system="memory"), BrokerAddress(system="redis", address="/socket")]
)
def test_poll_of_several_messages_has_their_number(queue: Queue, broker: BrokerAddress) -> None:
    """No single message is named; what is not known of the server is left out."""
    polling = queue.sibling(receive_spans=True)
    polling.telemetry.record_fetch(fetch(queue, broker=broker, size=3, message_id="m1"))
    (span,) = queue.spans()
    assert span.attributes["messaging.batch.message_count"] == 3
    assert not {"messaging.message.id", "server.port"} & span.attributes.keys()
    assert span.attributes.get("server.address") == broker.address
    assert span.links == ()


def test_polls_are_counted_by_result_and_vain_ones_have_no_span(queue: Queue) -> None:
    """Without a queue where several were asked in vain."""
    polling = queue.sibling(receive_spans=True, metrics={FETCHES})
    assert polling.telemetry.wants_fetches
    polling.telemetry.record_fetch(fetch(queue, result="empty", destination=None))
    for result in ("empty", "error", "error"):
        polling.telemetry.record_fetch(fetch(queue, result=result))
    assert queue.spans() == []
    assert {
        (point.attributes["taskqueue.fetch.result"], len(point.attributes)): point.value
        for point in queue.points(FETCHES)
    } == {("empty", 2): 1, ("empty", 3): 1, ("error", 3): 2}


def test_nothing_is_wanted_by_default_or_recorded_without_provider(queue: Queue) -> None:
    """An adapter then leaves all of it out."""
    assert not queue.telemetry.wants_fetches
    assert queue.sibling(metrics={FETCHES}).telemetry.wants_fetches
    QueueTelemetry("celery").record_fetch(fetch(queue))
    queue.telemetry.record_fetch(fetch(queue))
    assert queue.spans() == []
