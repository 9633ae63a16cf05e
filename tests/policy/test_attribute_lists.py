"""Allow and deny lists: over all spans, events and metrics, and what they must leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.core.messages import Ending, Message, Outcome, Route
from otel_queue_plugins.core.metrics.tally import MAX_SERIES
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.policy.attribute_lists import AttributeLists
from otel_queue_plugins.sdk import fastpath
from tests.core.conftest import ROUTE, Queue

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

FAILED = Ending(outcome=Outcome.DEAD_LETTER, error=ValueError("x"), dead_letter_queue="dead")


def names_of(spans: list[ReadableSpan]) -> set[str]:
    """The names of all attributes of spans and their events."""
    return {
        name for span in spans for each in (span, *span.events) for name in each.attributes or ()
    }


def everything(queue: Queue) -> list[ReadableSpan]:
    """Spans of all kinds and endings, with every attribute that they can have."""
    queue.process(queue.send(conversation_id="c"))
    delivery = queue.start(queue.send(), attempt=2, priority=3, worker_name="w", eta=1.0)
    queue.telemetry.end_process(delivery, FAILED)
    queue.telemetry.end_settle(queue.telemetry.start_settle(delivery, "nack"), ValueError("y"))
    retried = Ending(outcome=Outcome.RETRY, error=ValueError("x"), reason="r", delay=1.0)
    queue.process(queue.send(), retried)
    sending = queue.telemetry.start_send(Message(route=ROUTE, id="m"), {})
    queue.telemetry.end_send(sending, ValueError("broker"))
    return queue.spans()


def test_allowed_attributes_alone_leave(queue: Queue) -> None:
    """Of spans of all kinds, their events and their errors."""
    own = queue.sibling(attributes_allow="messaging.*, error.type", events="all")
    names = names_of(everything(own))
    assert {"messaging.system", "messaging.message.id", "error.type"} <= names
    assert {name for name in names if not name.startswith("messaging.")} == {"error.type"}


def test_denied_attributes_do_not_leave(queue: Queue) -> None:
    """Even if they are allowed."""
    own = queue.sibling(
        attributes_allow=["messaging.*", "exception.*", "taskqueue.*"],
        attributes_deny=["*.message.id", "exception.stacktrace", "taskqueue.retry.*"],
    )
    names = names_of(everything(own))
    assert {"exception.message", "taskqueue.task.attempt", "exception.type"} <= names
    denied = {"messaging.message.id", "exception.stacktrace", "taskqueue.retry.reason"}
    assert not names & denied
    assert denied <= names_of(everything(queue))


def test_lists_do_not_change_metrics(queue: Queue) -> None:
    """Metrics have a list of their own."""
    own = queue.sibling(attributes_allow="nothing")
    everything(own)
    (point, *_) = own.points("messaging.process.duration")
    assert point.attributes["taskqueue.task.name"] == ROUTE.task


def test_denied_attributes_of_metrics_do_not_leave(queue: Queue) -> None:
    """Their series become one; what the conventions for messaging require stays."""
    own = queue.sibling(
        metric_attributes_deny="taskqueue.*, messaging.*, error.type",
        metrics="taskqueue.task.completion, taskqueue.task.prefetch_wait",
    )
    for number in range(3):
        route = Route(system="redis", destination=f"q{number}", task=f"t{number}")
        carrier = own.send(route=route)
        for outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.REVOKED, Outcome.RETRY):
            ending = Ending(outcome=outcome, error=ValueError("x"))
            own.process(carrier, ending, route=route, received_at=1.0)
        own.process(carrier, FAILED, route=route)
    required = {
        "messaging.system",
        "messaging.operation.name",
        "messaging.operation.type",
        "error.type",
    }
    for name in own.metrics():
        for point in own.points(name):
            assert set(point.attributes or ()) <= required, name
    (sent,) = own.points("messaging.client.sent.messages")
    assert sent.value == 3
    assert sum(point.value for point in own.points("messaging.client.consumed.messages")) == 15


def test_denied_attributes_of_gauges_add_up(queue: Queue) -> None:
    """Two queues whose name may not leave are one series with the sum."""
    own = queue.sibling(metric_attributes_deny="messaging.destination.name,taskqueue.task.name")
    for number in range(3):
        running = own.start({}, route=Route(system="redis", destination=f"q{number}", task="t"))
        running.leave()
    (point,) = own.points("taskqueue.worker.in_flight")
    assert point.value == 3
    assert dict(point.attributes) == {"messaging.system": "redis"}


def test_nothing_is_wrapped_without_lists(queue: Queue) -> None:
    """So that they cost nothing then."""
    own = queue.sibling()
    own.telemetry.connect()
    assert own.telemetry._connection.set_attributes is (
        fastpath.set_attributes if own.fast_path else own.telemetry._connection.set_attributes
    )
    assert Options().on_metric(given := {"a": 1}) is given
    assert Options().on_span(given) is given


def test_known_names_are_bounded() -> None:
    """Names may come from users, as keys of correlation."""
    lists = AttributeLists((), ("x*",))
    for number in range(3000):
        assert lists.kept({f"y{number}": 1, f"x{number}": 1}) == {f"y{number}": 1}
    assert len(lists._known) <= 1000


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN_TASK, Outcome.UNDECODABLE])
def test_name_of_task_that_does_not_exist_is_one_value_on_metrics(
    queue: Queue, outcome: Outcome
) -> None:
    """Whoever can send a message could otherwise make any number of series; spans have the name."""
    for number in range(10):
        route = Route(system="redis", destination="q", task=f"made-up-{number}")
        ending = Ending(outcome=outcome, reason="no such task", dead_letter_queue="dead")
        span = queue.process({}, ending, route=route, enqueued_at=1.0)
        assert span.attributes["taskqueue.task.name"] == f"made-up-{number}"
    for name in (
        *("messaging.client.consumed.messages", "messaging.process.duration"),
        *("taskqueue.task.wait", "taskqueue.task.dead_letters"),
    ):
        (point,) = queue.points(name)
        assert point.attributes["taskqueue.task.name"] == "_OTHER", name


def test_gauges_beyond_2000_series_are_in_the_overflow(queue: Queue) -> None:
    """The sum of what runs, and the age of the oldest."""
    own = queue.sibling()
    first: Any = own.start({}, route=Route(system="redis", destination="q", task="t"))
    first.leave()
    own.clock.advance(5.0)
    for number in range(MAX_SERIES + 99):
        own.start({}, route=Route(system="redis", destination="q", task=f"t{number}")).leave()
    own.telemetry.end_process(first, Ending(outcome=Outcome.SUCCESS))
    for name, expected in (("in_flight", 100), ("longest_running", 2.0)):
        own.clock.advance(1.0)
        points = own.points(f"taskqueue.worker.{name}")
        assert len(points) == MAX_SERIES + 1
        (rest,) = [point for point in points if "otel.metric.overflow" in point.attributes]
        assert rest.value == expected
