"""The options of an app, an actor or a message, and carriers with wrong content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message

from tests.dramatiq.conftest import attribute, ids_of_links, outcome

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop


@pytest.mark.parametrize("where", ["app", "actor", "message"])
@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_relation_of_message_wins_over_actor_and_app(shop: Shop, where: str, relation: str) -> None:
    """The option of the message wins over that of the actor, which wins over that of the app."""
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


def test_relation_of_message_with_wrong_value_is_ignored(shop: Shop) -> None:
    """A wrong option of a message raises nothing in the producer."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    add.send_with_options(otel_relation=["nonsense"])
    shop.work()
    send, process = shop.spans()
    assert process.context.trace_id == send.context.trace_id


@pytest.mark.parametrize("where", ["actor", "message"])
def test_message_with_otel_trace_false_records_nothing(shop: Shop, where: str) -> None:
    """There is no span, no count and no carrier, whatever the outcome."""
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


def test_message_with_otel_trace_true_is_traced_despite_its_actor(shop: Shop) -> None:
    """The option of the message wins over that of its actor."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add", otel_trace=False)
    add.send_with_options(otel_trace=True)
    shop.work()
    assert len(shop.spans()) == 2


def test_message_of_periodiq_has_trigger_schedule_and_drift(shop: Shop) -> None:
    """Periodiq's messages have the option `scheduled_at`; the delay of their start is measured."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    add.send_with_options(scheduled_at="2026-01-01T00:00:00+00:00")
    shop.work()
    assert attribute(shop.span("process add"), "taskqueue.task.trigger") == "schedule"
    assert shop.total("taskqueue.schedule.drift") == 1


def test_span_name_queue_names_spans_after_queue(shop: Shop) -> None:
    """With `span_name="queue"` span names follow the semantic conventions strictly."""
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
def test_message_with_malformed_carrier_runs_under_root_span(shop: Shop, carrier: Any) -> None:
    """Whatever the option `otel` contains, the actor runs, and its span has no parent."""
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
def test_message_with_options_of_wrong_type_is_processed_and_traced(
    shop: Shop, options: dict[str, Any]
) -> None:
    """An option that Dramatiq itself ignores or refuses does not stop the span."""
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


def test_process_span_has_function_priority_and_prefetch_wait(shop: Shop) -> None:
    """The span has the facts of the actor, and the time for which a worker held the message."""
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
