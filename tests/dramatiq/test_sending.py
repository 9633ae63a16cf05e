"""One send span per message, however it is sent and however that ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message, group, pipeline
from dramatiq.errors import QueueNotFound
from dramatiq.middleware import Middleware, MiddlewareError
from opentelemetry import baggage, context, trace

import otel_queue_plugins
from otel_queue_plugins.dramatiq import uninstrument
from tests.dramatiq.conftest import attribute

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop


class Seen(Middleware):
    """Notes the current span and the message while a message is enqueued."""

    def __init__(self) -> None:
        self.span_ids: list[int] = []
        self.messages: list[Any] = []

    def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        self.span_ids.append(trace.get_current_span().get_span_context().span_id)
        self.messages.append(message)


class Refusing(Middleware):
    def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        raise MiddlewareError("not today")


def test_a_message_is_a_send_span_and_a_process_span_in_the_callers_trace(shop: Shop) -> None:
    """The send span is the child of the caller, and the parent of the other: that needs no link."""
    shop.instrument()
    add = shop.actor(lambda x: None, actor_name="add")
    with shop.caller() as caller:
        message = add.send(1)
    shop.work()
    send, process = shop.spans()
    assert (send.name, process.name) == ("send add", "process add")
    assert send.parent is not None
    assert process.parent is not None
    assert send.parent.span_id == caller.get_span_context().span_id
    assert process.parent.span_id == send.context.span_id
    assert process.links == ()
    assert attribute(send, "messaging.message.id") == message.message_id
    assert attribute(process, "messaging.message.id") == message.message_id
    assert attribute(process, "taskqueue.framework") == "dramatiq"
    assert attribute(process, "messaging.destination.name") == "default"
    assert attribute(process, "messaging.system") == "stub"
    assert attribute(process, "taskqueue.task.attempt") == 1
    assert attribute(process, "taskqueue.task.max_attempts") == 21


def test_without_a_caller_a_message_is_a_trace_of_its_own(shop: Shop) -> None:
    """A scheduler or a script sends outside of any span."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    add.send()
    shop.work()
    send, process = shop.spans()
    assert send.parent is None
    assert process.context.trace_id == send.context.trace_id


def test_the_send_span_is_current_while_the_broker_is_called(shop: Shop) -> None:
    """Spans of an instrumented client are its children."""
    seen = Seen()
    shop.instrument()
    shop.broker.add_middleware(seen)
    add = shop.actor(lambda: None, actor_name="add")
    add.send()
    assert seen.span_ids == [shop.span("send add").context.span_id]


@pytest.mark.parametrize("how", ["send", "send_with_options", "enqueue", "by keyword", "delayed"])
def test_every_way_of_sending_is_one_span(shop: Shop, how: str) -> None:
    """The span belongs to the message, not to the method."""
    shop.instrument()
    add = shop.actor(lambda x: None, actor_name="add")
    by_hand = Message(queue_name="default", actor_name="add", args=(1,), kwargs={}, options={})
    {
        "send": lambda: add.send(1),
        "send_with_options": lambda: add.send_with_options(args=(1,)),
        "enqueue": lambda: shop.broker.enqueue(by_hand),
        "by keyword": lambda: shop.broker.enqueue(message=by_hand),
        "delayed": lambda: add.send_with_options(args=(1,), delay=10),
    }[how]()
    assert [span.name for span in shop.spans()] == ["send add"]
    assert shop.total("messaging.client.sent.messages") == 1
    assert shop.total("messaging.client.operation.duration") == 1


def test_what_is_sent_at_once_by_pipelines_and_groups_is_sent_by_user_code(shop: Shop) -> None:
    """A pipeline sends its first message, a group all of them."""
    shop.instrument()
    add = shop.actor(lambda x: None, actor_name="add")
    pipeline([add.message(1), add.message()], broker=shop.broker).run()
    assert len(shop.spans("send add")) == 1
    group([add.message(1), add.message(2)], broker=shop.broker).run()
    assert len(shop.spans("send add")) == 3


def test_a_message_that_cannot_be_encoded_is_an_ended_error_span(shop: Shop) -> None:
    """`after_enqueue` never comes; the caller's context is as it was."""
    shop.instrument()
    add = shop.actor(lambda x: None, actor_name="add")
    with shop.caller() as caller:
        with pytest.raises(TypeError):
            add.send(object())
        assert trace.get_current_span() is caller
    send = shop.span("send add")
    assert send.status.status_code is trace.StatusCode.ERROR
    assert attribute(send, "error.type") == "TypeError"
    assert [event.name for event in send.events] == ["exception"]
    assert shop.total("messaging.client.sent.messages", error__type="TypeError") == 1


def test_a_failed_send_shows_the_frames_of_dramatiq_and_the_actor_only(shop: Shop) -> None:
    """What of ours was between them is in neither of the two stack traces."""
    shop.instrument()
    add = shop.actor(lambda x: None, actor_name="add")
    shop.actor(lambda: add.send(object()), actor_name="outer", max_retries=0).send()
    shop.work()
    for name in ("send add", "process outer"):
        text = str(attribute(shop.span(name), "exception.stacktrace"))
        assert "in enqueue" in text
        assert f"{Path(otel_queue_plugins.__file__).parent}/" not in text


@pytest.mark.parametrize("position", ["after us", "before us"])
def test_a_middleware_that_refuses_a_message_fails_its_send_span(shop: Shop, position: str) -> None:
    """Whatever else was called or not called."""
    shop.instrument()
    shop.broker.add_middleware(Refusing())
    if position == "before us":
        shop.broker.middleware.insert(0, shop.broker.middleware.pop())
    add = shop.actor(lambda: None, actor_name="add")
    with pytest.raises(MiddlewareError, match="not today"):
        add.send()
    assert shop.span("send add").status.status_code is trace.StatusCode.ERROR
    assert not context.get_current()


def test_a_send_that_fails_before_any_hook_is_an_ended_error_span(shop: Shop) -> None:
    """As when RabbitMQ cannot be reached: nobody is told anything."""
    shop.instrument()
    message = Message(queue_name="nowhere", actor_name="x", args=(), kwargs={}, options={})
    with pytest.raises(QueueNotFound):
        shop.broker.enqueue(message)
    assert attribute(shop.span("send x"), "error.type") == "dramatiq.errors.QueueNotFound"
    assert not context.get_current()


def test_a_send_inside_a_send_nests(shop: Shop) -> None:
    """An outbox or audit middleware sends from its own hook."""
    shop.instrument()
    audit = shop.actor(lambda: None, actor_name="audit")

    class Audit(Middleware):
        def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
            if message.actor_name != "audit":
                audit.send()

    shop.broker.add_middleware(Audit())
    shop.actor(lambda: None, actor_name="add").send()
    inner, outer = shop.span("send audit"), shop.span("send add")
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert not context.get_current()


def test_one_send_that_emits_its_hook_six_times_is_one_span(shop: Shop) -> None:
    """RabbitMQ's reconnect loop does, around one `enqueue`."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add")
    enqueue = type(shop.broker).enqueue
    message = Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})
    broker = shop.broker

    class Reconnecting(type(broker)):  # type: ignore[misc]
        def enqueue(self, message: Any, *, delay: Any = None) -> Any:
            for _ in range(5):
                self.emit_before("enqueue", message, delay)
            return enqueue(self, message, delay=delay)

    again = Reconnecting()
    again.declare_queue("default")
    shop.broker = again
    shop.instrument()
    again.enqueue(message)
    assert len(shop.spans()) == 1
    uninstrument(again)
    shop.broker = broker


def test_the_options_of_the_user_arrive_untouched_and_the_carrier_is_small_json(shop: Shop) -> None:
    """One key more, of strings, at most 120 bytes."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    with shop.caller():
        message = add.send_with_options(ticket={"no": 7}, queue_hint="fast")
    options = dict(message.options)
    carrier = options.pop("otel")
    assert options == {"ticket": {"no": 7}, "queue_hint": "fast"}
    assert set(carrier) == {"traceparent", "otq"}
    assert all(isinstance(value, str) for value in carrier.values())
    assert len(json.dumps({"otel": carrier})) <= 120


def test_a_message_sent_twice_gets_a_fresh_carrier_and_copies_do_not_share_it(shop: Shop) -> None:
    """`copy` is shallow, so a carrier is replaced and never changed."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add")
    message = Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})
    shop.broker.enqueue(message)
    copy, first = message.copy(), dict(message.options["otel"])
    shop.broker.enqueue(message)
    assert copy.options["otel"] == first
    assert message.options["otel"]["traceparent"] != first["traceparent"]


def test_baggage_arrives(shop: Shop) -> None:
    """What the caller put there, the actor reads."""
    shop.instrument()
    seen: list[object] = []
    add = shop.actor(lambda: seen.append(baggage.get_baggage("user")), actor_name="add")
    token = context.attach(baggage.set_baggage("user", "7"))
    add.send()
    context.detach(token)
    shop.work()
    assert seen == ["7"]
    assert baggage.get_baggage("user") is None


def test_what_an_actor_sends_is_a_child_of_its_process_span(shop: Shop) -> None:
    """The actor's span is current in the actor."""
    shop.instrument()
    inner = shop.actor(lambda: None, actor_name="inner")
    outer = shop.actor(lambda: inner.send() and None, actor_name="outer")
    outer.send()
    shop.work()
    send, process = shop.span("send inner"), shop.span("process outer")
    assert send.parent is not None
    assert send.parent.span_id == process.context.span_id


def test_the_first_message_through_an_unseen_broker_is_traced(shop: Shop) -> None:
    """Appended by hand to a broker that declares nothing, the first hook is `before_enqueue`."""
    shop.broker.declare_queue("default")
    middleware = shop.append()
    middleware.remove(shop.broker)
    message = Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})
    for _ in range(2):
        shop.broker.enqueue(message)
    assert [span.name for span in shop.spans()] == ["send add"] * 2
    assert message.options["otel"]["traceparent"].split("-")[2] == format(
        shop.spans()[1].context.span_id, "016x"
    )
