"""Child, link, none, auto: which trace a delivery belongs to, and what it links to."""

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
def test_the_app_decides_and_baggage_comes_along(queue: Queue, relation: str) -> None:
    """The default of the sender's app counts, and baggage is restored in all relations."""
    carrier = queue.sibling(relation=relation).send()
    operation = queue.start(carrier)
    assert baggage.get_baggage("tenant") == "a b"
    queue.telemetry.end_process(operation, SUCCEEDED)
    assert related(queue) == relation


@pytest.mark.parametrize("app", ["child", "link", "none", "auto"])
@pytest.mark.parametrize("call", ["child", "link", "none"])
def test_the_call_wins(queue: Queue, app: str, call: str) -> None:
    """What one message says overrides the app, on both sides."""
    queue = queue.sibling(relation=app)
    queue.process(queue.send(relation=call))
    assert related(queue) == call


def test_without_our_key_the_receiver_decides(queue: Queue) -> None:
    """A message of another tracer has no word of its own: the worker's option counts."""
    carrier = queue.send()
    del carrier["otq"]
    queue.sibling(relation="link").process(carrier)
    assert related(queue) == "link"


@pytest.mark.parametrize(("waited", "expected"), [(60.0, "child"), (60.001, "link")])
def test_auto_links_late_work(queue: Queue, waited: float, expected: str) -> None:
    """Work that waited longer than `auto_link_after` starts its own trace."""
    queue = queue.sibling(relation="auto", auto_link_after=60)
    carrier = queue.send()
    queue.clock.advance(waited)
    queue.process(carrier)
    assert related(queue) == expected


def test_auto_links_scheduled_work(queue: Queue) -> None:
    """Work that was meant to wait starts its own trace, however short the wait."""
    queue = queue.sibling(relation="auto")
    queue.process(queue.send(eta=START + 5))
    assert related(queue) == "link"


def test_auto_keeps_the_retry_of_prompt_work_in_its_trace(queue: Queue) -> None:
    """A backoff is no schedule: attempts stay siblings in one trace."""
    queue = queue.sibling(relation="auto")
    carrier = queue.send()
    operation = queue.start(carrier)
    queue.telemetry.requeue(operation, carrier, eta=queue.clock() / 1e9 + 5)
    queue.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
    first, second = queue.spans()[-1], queue.process(carrier)
    assert second.parent.span_id == first.parent.span_id


@pytest.mark.parametrize(("size", "expected"), [(None, "child"), (9, "child"), (10, "link")])
def test_auto_links_large_fan_outs(queue: Queue, size: int | None, expected: str) -> None:
    """One of many is linked; the sender knows how many there are."""
    queue = queue.sibling(relation="auto", auto_link_fan_out=10)
    queue.process(queue.send(membership=Membership(id="g", index=0, size=size)))
    assert related(queue) == expected


@pytest.mark.parametrize("relation", ["child", "link"])
@pytest.mark.usefixtures("tenant")
def test_a_retry_keeps_creation_context_baggage_and_relation(queue: Queue, relation: str) -> None:
    """No send span per retry; the next attempt links to the one before."""
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


def test_a_retry_of_a_message_without_context_is_one_trace(queue: Queue) -> None:
    """A message nobody traced gets the context of its first attempt."""
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
def test_the_first_attempt_is_linked_once_where_it_is_no_parent(
    queue: Queue, relation: str
) -> None:
    """It is the creation context of a message that came without one, and the attempt before."""
    operation = queue.start({"otq": f"1;r{relation}"})
    again: dict[str, object] = {}
    queue.telemetry.requeue(operation, again)
    queue.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
    queue.process(again, attempt=2)
    first, second = queue.spans("process")
    assert second.parent is None
    assert [link.context.span_id for link in second.links] == [first.context.span_id]


def test_eager_work_is_a_child_of_its_caller(queue: Queue) -> None:
    """Without a carrier the caller runs the task itself, whatever the relation."""
    queue = queue.sibling(relation="link")
    with queue.tracer_provider.get_tracer("app").start_as_current_span("request"):
        queue.process(None)
    process, request = queue.spans()
    assert process.parent.span_id == request.context.span_id
    assert process.links == ()


def test_nothing_of_the_worker_is_a_parent(queue: Queue) -> None:
    """A message without a context starts a trace, also when something is current in the worker."""
    token = context.attach(baggage.set_baggage("left", "over"))
    with queue.tracer_provider.get_tracer("app").start_as_current_span("polling"):
        operation = queue.start({})
        assert baggage.get_all() == {}
        queue.telemetry.end_process(operation, SUCCEEDED)
    context.detach(token)
    assert queue.spans("process")[0].parent is None
