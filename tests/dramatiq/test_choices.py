"""What an app, an actor or a message may choose, and carriers that nobody should trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message

from tests.dramatiq.conftest import attribute, ids_of_links, outcome

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop


@pytest.mark.parametrize("where", ["app", "actor", "message"])
@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_the_relation_is_chosen_by_app_actor_or_message(
    shop: Shop, where: str, relation: str
) -> None:
    """The nearest choice counts; baggage and links as in the contract."""
    other = "child" if relation == "link" else "link"
    shop.instrument(relation=relation if where == "app" else other)
    chosen = {"otel_relation": relation}
    add = shop.actor(lambda: None, actor_name="add", **(chosen if where == "actor" else {}))
    add.send_with_options(**(chosen if where == "message" else {}))
    shop.work()
    send, process = shop.spans()
    assert (process.parent is not None) is (relation == "child")
    assert (process.context.trace_id == send.context.trace_id) is (relation == "child")
    assert ids_of_links(process) == ([send.context.span_id] if relation == "link" else [])


def test_a_wrong_relation_of_a_message_counts_as_none_given(shop: Shop) -> None:
    """Nothing of ours raises into a producer."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    add.send_with_options(otel_relation=["nonsense"])
    shop.work()
    send, process = shop.spans()
    assert process.context.trace_id == send.context.trace_id


@pytest.mark.parametrize("where", ["actor", "message"])
def test_an_actor_or_a_message_can_be_left_out(shop: Shop, where: str) -> None:
    """No span, no count, nothing in the message, however it ends."""
    shop.instrument()
    chosen = {"otel_trace": False}
    left = [1]

    def run() -> None:
        if left:
            left.pop()
            raise ValueError

    options = chosen if where == "actor" else {}
    add = shop.actor(run, actor_name="add", min_backoff=5, **options)
    message = add.send_with_options(**(chosen if where == "message" else {}))
    shop.work()
    assert shop.spans() == []
    assert "otel" not in message.options
    assert shop.total("messaging.client.consumed.messages") == 0


def test_a_message_may_be_traced_though_its_actor_is_not(shop: Shop) -> None:
    """The message has the last word."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add", otel_trace=False)
    add.send_with_options(otel_trace=True)
    shop.work()
    assert len(shop.spans()) == 2


def test_a_message_of_a_scheduler_says_so(shop: Shop) -> None:
    """Periodiq's messages have an option of that name; how late they start is measured."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    add.send_with_options(scheduled_at="2026-01-01T00:00:00+00:00")
    shop.work()
    assert attribute(shop.span("process add"), "taskqueue.task.trigger") == "schedule"
    assert shop.total("taskqueue.schedule.drift") == 1


def test_spans_can_be_named_after_the_queue(shop: Shop) -> None:
    """The strict convention."""
    shop.instrument(span_name="queue")
    shop.actor(lambda: None, actor_name="add").send_with_options(delay=5)
    shop.work()
    assert [span.name for span in shop.spans()] == ["send default", "process default"]


@pytest.mark.parametrize(
    "carrier",
    [
        None,
        7,
        "00-abc",
        [],
        {},
        {"traceparent": 7, "otq": []},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": "x" * 1_000_000, "otq": "y" * 1_000_000},
        {"traceparent": "00-zz-zz-zz", "otq": "zz;w"},
        {"otq": "6" * 40, "baggage": "=,=,"},
        {"otq": None, "group_size": "many"},
    ],
)
def test_a_malformed_carrier_runs_the_actor_under_a_span_of_its_own(
    shop: Shop, carrier: Any
) -> None:
    """Whatever somebody puts where our carrier belongs."""
    ran: list[int] = []
    shop.actor(lambda: ran.append(1), actor_name="add")
    options = {"otel": carrier}
    shop.broker.enqueue(
        Message(queue_name="default", actor_name="add", args=(), kwargs={}, options=options)
    )
    shop.instrument()
    shop.work()
    process = shop.span("process add")
    assert ran == [1]
    assert process.parent is None
    assert outcome(process) == "success"


@pytest.mark.parametrize(
    "options",
    [
        {"retries": "three"},
        {"retries": -1, "max_retries": "many"},
        {"max_age": "old"},
        {"broker_priority": "high"},
        {"requeue_timestamp": None},
        {"pipe_target": 7},
        {"throws": "ValueError"},
    ],
)
def test_options_of_the_wrong_type_cost_no_message(shop: Shop, options: dict[str, Any]) -> None:
    """What Dramatiq makes of them is its own business; the span is there."""
    shop.broker.middleware.clear()
    shop.instrument()
    ran: list[int] = []
    shop.actor(lambda: ran.append(1), actor_name="add")
    shop.broker.enqueue(
        Message(queue_name="default", actor_name="add", args=(), kwargs={}, options=options)
    )
    shop.work()
    assert ran == [1]
    assert len(shop.spans("process add")) == 1


def test_facts_of_an_actor_are_on_its_span(shop: Shop) -> None:
    """Function, priority and the time a worker held it."""
    shop.instrument(metrics=["taskqueue.task.prefetch_wait"])
    shop.actor(report_nothing, actor_name="add", priority=3).send()
    shop.work()
    process = shop.span("process add")
    assert attribute(process, "taskqueue.task.priority") == 3
    assert attribute(process, "code.function.name") == (f"{__name__}.report_nothing")
    assert attribute(process, "taskqueue.task.prefetch_wait") is not None
    assert shop.total("taskqueue.task.prefetch_wait") == 1


def report_nothing() -> None:
    """The function of the actor above."""
