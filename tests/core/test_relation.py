"""The trace of a delivery, by relation: `child`, `link`, `none` and `auto`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import baggage, context

from otel_queue_plugins.core.messages import SUCCEEDED, Ending, Membership, Outcome
from tests.core.conftest import START, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def tenant() -> Iterator[None]:
    """Baggage of the caller."""
    token = context.attach(baggage.set_baggage("tenant", "a b"))
    yield
    context.detach(token)


def related(queue: Queue) -> str:
    """What the last process span is to the last send span."""
    send, process = queue.spans("send")[-1], queue.spans("process")[-1]
    same = process.context.trace_id == send.context.trace_id
    linked = send.context.span_id in [link.context.span_id for link in process.links]
    assert same == (process.parent is not None)
    if same:
        assert process.parent.span_id == send.context.span_id
    return {(True, False): "child", (False, True): "link", (False, False): "none"}[same, linked]


@pytest.mark.parametrize("relation", ["child", "link", "none"])
@pytest.mark.usefixtures("tenant")
def test_relation_of_sending_app_is_used_and_baggage_restored(queue: Queue, relation: str) -> None:
    """The option of the sender's app counts; baggage is restored for every relation."""
    carrier = queue.sibling(relation=relation).send()
    operation = queue.start(carrier)
    assert baggage.get_baggage("tenant") == "a b"
    queue.telemetry.end_process(operation, SUCCEEDED)
    assert related(queue) == relation


@pytest.mark.parametrize("app", ["child", "link", "none", "auto"])
@pytest.mark.parametrize("call", ["child", "link", "none"])
def test_relation_of_message_wins_over_that_of_app(queue: Queue, app: str, call: str) -> None:
    """The relation of one message overrides the option, on both sides."""
    queue = queue.sibling(relation=app)
    queue.process(queue.send(relation=call))
    assert related(queue) == call


def test_message_without_envelope_uses_relation_of_worker(queue: Queue) -> None:
    """A message of another tracer has no relation: the worker's option counts."""
    carrier = queue.send()
    del carrier["otq"]
    queue.sibling(relation="link").process(carrier)
    assert related(queue) == "link"


@pytest.mark.parametrize(("waited", "expected"), [(60.0, "child"), (60.001, "link")])
def test_auto_links_message_that_waited_longer_than_the_option(
    queue: Queue, waited: float, expected: str
) -> None:
    """`auto_link_after` is the longest wait of a child."""
    queue = queue.sibling(relation="auto", auto_link_after=60)
    carrier = queue.send()
    queue.clock.advance(waited)
    queue.process(carrier)
    assert related(queue) == expected


def test_auto_links_message_with_eta(queue: Queue) -> None:
    """A message that was scheduled to wait starts its own trace, however short the wait."""
    queue = queue.sibling(relation="auto")
    queue.process(queue.send(eta=START + 5))
    assert related(queue) == "link"


def test_auto_keeps_retry_in_the_trace_of_its_message(queue: Queue) -> None:
    """A backoff is no schedule: attempts stay siblings in one trace."""
    queue = queue.sibling(relation="auto")
    carrier = queue.send()
    operation = queue.start(carrier)
    queue.telemetry.requeue(operation, carrier, eta=queue.clock() / 1e9 + 5)
    queue.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
    first, second = queue.spans()[-1], queue.process(carrier)
    assert second.parent.span_id == first.parent.span_id


@pytest.mark.parametrize(("size", "expected"), [(None, "child"), (9, "child"), (10, "link")])
def test_auto_links_member_of_a_large_group(queue: Queue, size: int | None, expected: str) -> None:
    """The sender decides, if it knows the size of the group."""
    queue = queue.sibling(relation="auto", auto_link_fan_out=10)
    queue.process(queue.send(membership=Membership(id="g", index=0, size=size)))
    assert related(queue) == expected


@pytest.mark.parametrize("relation", ["child", "link"])
@pytest.mark.usefixtures("tenant")
def test_retry_keeps_creation_context_baggage_and_relation(queue: Queue, relation: str) -> None:
    """A retry has no send span; the next attempt links to the one before."""
    carrier = queue.sibling(relation=relation).send(trigger="schedule")
    for attempt in (1, 2, 3):
        operation = queue.start(carrier, attempt=attempt)
        assert baggage.get_baggage("tenant") == "a b"
        again: dict[str, object] = {"otq": "stale", "tracestate": "stale=1"}
        queue.telemetry.requeue(operation, again)
        carrier = again
        queue.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
        assert related(queue) == relation
    [send] = queue.spans("send")
    first, second, third = queue.spans("process")
    created = [send.context.span_id] if relation == "link" else []
    assert [link.context.span_id for link in first.links] == created
    for before, after in ((first, second), (second, third)):
        *linked, last = after.links
        assert [link.context.span_id for link in linked] == created
        assert last.context.span_id == before.context.span_id
        assert last.context.trace_id == before.context.trace_id
    assert third.attributes["taskqueue.task.trigger"] == "schedule"
    assert "tracestate" not in again


def test_retry_of_message_without_context_is_child_of_first_attempt(queue: Queue) -> None:
    """A message without a creation context gets that of its first attempt."""
    operation = queue.start({}, enqueued_at=START - 2)
    again: dict[str, object] = {}
    queue.telemetry.requeue(operation, again, eta=START + 3)
    queue.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
    queue.clock.advance(4)
    queue.process(again, attempt=2)
    first, second = queue.spans("process")
    assert first.parent is None
    assert second.parent.span_id == first.context.span_id
    assert second.links == ()
    assert second.attributes["taskqueue.task.wait"] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("relation", ["link", "none"])
def test_second_attempt_without_parent_links_to_first_attempt_once(
    queue: Queue, relation: str
) -> None:
    """The first attempt is both the creation context and the attempt before."""
    operation = queue.start({"otq": f"1;r{relation}"})
    again: dict[str, object] = {}
    queue.telemetry.requeue(operation, again)
    queue.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
    queue.process(again, attempt=2)
    first, second = queue.spans("process")
    assert second.parent is None
    assert [link.context.span_id for link in second.links] == [first.context.span_id]


def test_process_without_carrier_is_child_of_current_span(queue: Queue) -> None:
    """Without a carrier the caller runs the task itself, whatever the relation is."""
    queue = queue.sibling(relation="link")
    with queue.tracer_provider.get_tracer("app").start_as_current_span("request"):
        queue.process(None)
    process, request = queue.spans()
    assert process.parent.span_id == request.context.span_id
    assert process.links == ()


def test_message_without_context_ignores_context_of_worker(queue: Queue) -> None:
    """A message without a context starts a trace, also if a span is current in the worker."""
    token = context.attach(baggage.set_baggage("left", "over"))
    with queue.tracer_provider.get_tracer("app").start_as_current_span("polling"):
        operation = queue.start({})
        assert baggage.get_all() == {}
        queue.telemetry.end_process(operation, SUCCEEDED)
    context.detach(token)
    assert queue.spans("process")[0].parent is None
