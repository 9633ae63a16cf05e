"""Pipelines, groups and callbacks: one trace, and the workflow of each message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
from dramatiq import group, pipeline
from dramatiq.middleware import GroupCallbacks

from otel_queue_plugins.dramatiq import uninstrument
from tests.dramatiq.conftest import StubBackend, attribute, ids_of_links

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.dramatiq.conftest import Shop

EVERYWHERE = pytest.mark.parametrize("position", ["first", "last"])


def set_up(shop: Shop, position: str) -> Any:
    """Add our middleware and group callbacks; return an actor that counts its arguments."""
    shop.broker.add_middleware(GroupCallbacks(StubBackend()))
    if position == "first":
        shop.instrument()
    else:
        shop.append()
    return shop.actor(lambda *values: len(values), actor_name="add")


def place(span: ReadableSpan) -> tuple[object, ...]:
    """Return the kind and the step of a span's workflow."""
    return tuple(attribute(span, f"taskqueue.workflow.{name}") for name in ("kind", "step"))


@EVERYWHERE
def test_pipeline_is_one_trace_with_numbered_steps(shop: Shop, position: str) -> None:
    """Each step is sent inside the one before; the id is that of the first message."""
    add = set_up(shop, position)
    first = add.message(1)
    with shop.caller() as caller:
        pipeline([first, add.message(2), add.message(3)], broker=shop.broker).run()
    shop.work()
    sends, steps = shop.spans("send add"), shop.spans("process add")
    assert [place(step) for step in steps] == [
        ("pipeline", 0),
        ("pipeline", 1),
        ("pipeline", 2),
    ]
    assert {attribute(step, "taskqueue.workflow.id") for step in steps} == {first.message_id}
    assert {attribute(s, "messaging.message.conversation_id") for s in (*sends, *steps)} == {
        first.message_id
    }
    assert [attribute(step, "taskqueue.task.trigger") for step in steps] == [
        "call",
        "workflow",
        "workflow",
    ]
    assert [send.parent and send.parent.span_id for send in sends[1:]] == [
        step.context.span_id for step in steps[:2]
    ]
    assert {span.context.trace_id for span in shop.spans()} == {caller.get_span_context().trace_id}


@EVERYWHERE
@pytest.mark.parametrize("option", ["on_success", "on_failure"])
def test_callback_is_sent_inside_delivery_with_trigger_callback(
    shop: Shop, position: str, option: str
) -> None:
    """This holds for `on_success` and `on_failure`."""
    set_up(shop, position)
    after = shop.actor(lambda message, result: None, actor_name="after")

    def run() -> None:
        if option == "on_failure":
            raise ValueError

    shop.actor(run, actor_name="main", max_retries=0).send_with_options(**{option: after})
    shop.work()
    main, send, process = (
        shop.span(name) for name in ("process main", "send after", "process after")
    )
    assert send.parent is not None
    assert send.parent.span_id == main.context.span_id
    assert attribute(process, "taskqueue.task.trigger") == "callback"
    assert process.context.trace_id == main.context.trace_id


@EVERYWHERE
def test_completion_callback_links_to_each_member_of_group(shop: Shop, position: str) -> None:
    """It links to every send span, of a pipeline to that of the first step."""
    add = set_up(shop, position)
    done = shop.actor(lambda: None, actor_name="done")
    steps = pipeline([add.message(2), add.message(3)], broker=shop.broker)
    members = [add.message(1), steps, add.message(4)]
    together = group(members, broker=shop.broker)
    together.add_completion_callback(done.message())
    with shop.caller():
        together.run()
        sends = shop.spans("send add")
    shop.work()
    process = shop.span("process done")
    assert len(sends) == 3
    assert set(ids_of_links(process)) == {send.context.span_id for send in sends}
    assert attribute(process, "taskqueue.task.trigger") == "callback"
    assert place(process) == ("group", None)
    alone = [span for span in shop.spans("process add") if place(span)[0] == "group"]
    assert {place(span)[1] for span in alone} == {0, 2}
    assert {attribute(span, "taskqueue.workflow.id") for span in (*alone, process)} == {
        attribute(process, "taskqueue.workflow.id")
    }
    assert len({span.context.trace_id for span in shop.spans()}) == 1


def test_completion_callback_links_to_members_sent_outside_of_span(shop: Shop) -> None:
    """Members that are sent without a current span share a trace."""
    add = set_up(shop, "first")
    done = shop.actor(lambda: None, actor_name="done")
    together = group([add.message(1), add.message(2)], broker=shop.broker)
    together.add_completion_callback(done.message())
    together.run()
    shop.work()
    sends = {send.context.span_id for send in shop.spans("send add")}
    assert sends == set(ids_of_links(shop.span("process done")))


def test_completion_callback_of_large_group_has_twenty_links(shop: Shop) -> None:
    """A span has at most 20 links."""
    add = set_up(shop, "first")
    done = shop.actor(lambda: None, actor_name="done")
    together = group([add.message(i) for i in range(30)], broker=shop.broker)
    together.add_completion_callback(done.message())
    together.run()
    shop.work()
    assert len(shop.span("process done").links) == 20


def test_group_run_leaves_completion_callbacks_unchanged(shop: Shop) -> None:
    """What is added for sending is removed, so that a group can run twice."""
    add = set_up(shop, "first")
    done = shop.actor(lambda: None, actor_name="done")
    message = done.message()
    together = group([add.message(1)], broker=shop.broker)
    together.add_completion_callback(message)
    for _ in range(2):
        together.run()
        shop.work()
    assert together.completion_callbacks == [message.asdict()]
    assert "otel" not in message.options
    assert len(shop.spans("process done")) == 2


def test_group_without_callbacks_gives_members_workflow_and_trace(shop: Shop) -> None:
    """Its members have a step and share an id."""
    add = set_up(shop, "first")
    group([add.message(1), add.message(2)], broker=shop.broker).run(delay=5)
    shop.work()
    steps = shop.spans("process add")
    assert sorted(place(step) for step in steps) == [("group", 0), ("group", 1)]
    assert len({attribute(step, "taskqueue.workflow.id") for step in steps}) == 1
    assert len({step.context.trace_id for step in steps}) == 1


def test_relation_auto_links_members_of_large_group(shop: Shop) -> None:
    """From `auto_link_fan_out` members on, each is the root of its own trace."""
    shop.instrument(relation="auto", auto_link_fan_out=3)
    add = shop.actor(lambda x: None, actor_name="add")
    group([add.message(1), add.message(2)], broker=shop.broker).run()
    shop.work()
    assert all(span.parent is not None for span in shop.spans("process add"))
    group([add.message(i) for i in range(3)], broker=shop.broker).run()
    shop.work()
    assert [span.parent for span in shop.spans("process add")][2:] == [None] * 3


def test_retry_keeps_workflow_step(shop: Shop) -> None:
    """The second attempt is the same step."""
    add = set_up(shop, "first")
    left = [1]

    def run(_: object) -> None:
        if left:
            left.pop()
            raise ValueError

    flaky = shop.actor(run, actor_name="flaky", min_backoff=5)
    pipeline([add.message(1), flaky.message()], broker=shop.broker).run()
    shop.work()
    assert [place(span) for span in shop.spans("process flaky")] == [("pipeline", 1)] * 2


def test_group_of_uninstrumented_broker_is_unchanged_and_run_is_restored(shop: Shop) -> None:
    """`group.run` is patched only while a broker is instrumented."""
    from dramatiq.brokers.stub import StubBroker

    original = vars(group)["run"]
    shop.instrument()
    assert vars(group)["run"] is not original
    other = StubBroker()
    add = dramatiq.actor(lambda: None, actor_name="add", broker=other)
    group([add.message()], broker=other).run()
    assert other.queues["default"].qsize() == 1
    uninstrument(shop.broker)
    assert vars(group)["run"] is original
