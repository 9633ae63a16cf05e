"""One send span for each message, however it is sent and however that ends."""

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
    """Records the current span and the message in `before_enqueue`."""

    def __init__(self) -> None:
        self.span_ids: list[int] = []
        self.messages: list[Any] = []

    def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        self.span_ids.append(trace.get_current_span().get_span_context().span_id)
        self.messages.append(message)


class Refusing(Middleware):
    def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        raise MiddlewareError("not today")


def test_message_has_send_and_process_span_in_trace_of_caller(shop: Shop) -> None:
    """The send span is a child of the caller's span and the parent of the process span."""
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


def test_send_outside_of_span_starts_trace(shop: Shop) -> None:
    """A scheduler or a script sends outside of any span."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    add.send()
    shop.work()
    send, process = shop.spans()
    assert send.parent is None
    assert process.context.trace_id == send.context.trace_id


def test_send_span_is_current_during_call_to_broker(shop: Shop) -> None:
    """Spans of an instrumented client are its children."""
    seen = Seen()
    shop.instrument()
    shop.broker.add_middleware(seen)
    add = shop.actor(lambda: None, actor_name="add")
    add.send()
    assert seen.span_ids == [shop.span("send add").context.span_id]


@pytest.mark.parametrize("how", ["send", "send_with_options", "enqueue", "by keyword", "delayed"])
def test_each_way_of_sending_makes_one_send_span(shop: Shop, how: str) -> None:
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


def test_first_messages_of_pipelines_and_groups_have_trigger_call(shop: Shop) -> None:
    """A pipeline sends its first message at once, a group all of its messages."""
    shop.instrument()
    add = shop.actor(lambda x: None, actor_name="add")
    pipeline([add.message(1), add.message()], broker=shop.broker).run()
    assert len(shop.spans("send add")) == 1
    group([add.message(1), add.message(2)], broker=shop.broker).run()
    assert len(shop.spans("send add")) == 3


def test_message_that_cannot_be_encoded_ends_send_span_with_error(shop: Shop) -> None:
    """`after_enqueue` is not called then; the caller's context is restored."""
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


def test_failed_send_shows_no_frame_of_this_package(shop: Shop) -> None:
    """Neither the recorded stack trace nor the exception of the caller has one."""
    shop.instrument()
    add = shop.actor(lambda x: None, actor_name="add")
    shop.actor(lambda: add.send(object()), actor_name="outer", max_retries=0).send()
    shop.work()
    for name in ("send add", "process outer"):
        text = str(attribute(shop.span(name), "exception.stacktrace"))
        assert "in enqueue" in text
        assert f"{Path(otel_queue_plugins.__file__).parent}/" not in text


@pytest.mark.parametrize("position", ["after us", "before us"])
def test_middleware_that_raises_in_before_enqueue_ends_send_span_with_error(
    shop: Shop, position: str
) -> None:
    """The order of the middleware does not matter."""
    shop.instrument()
    shop.broker.add_middleware(Refusing())
    if position == "before us":
        shop.broker.middleware.insert(0, shop.broker.middleware.pop())
    add = shop.actor(lambda: None, actor_name="add")
    with pytest.raises(MiddlewareError, match="not today"):
        add.send()
    assert shop.span("send add").status.status_code is trace.StatusCode.ERROR
    assert not context.get_current()


def test_send_that_fails_before_any_hook_ends_send_span_with_error(shop: Shop) -> None:
    """Dramatiq calls no hook if it cannot connect to RabbitMQ."""
    shop.instrument()
    message = Message(queue_name="nowhere", actor_name="x", args=(), kwargs={}, options={})
    with pytest.raises(QueueNotFound):
        shop.broker.enqueue(message)
    assert attribute(shop.span("send x"), "error.type") == "dramatiq.errors.QueueNotFound"
    assert not context.get_current()


def test_send_in_hook_of_send_is_child_of_outer_send(shop: Shop) -> None:
    """An outbox or audit middleware sends in its own hook."""
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


def test_send_with_repeated_hook_makes_one_send_span(shop: Shop) -> None:
    """The reconnect loop for RabbitMQ repeats the hook inside one `enqueue`."""
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


def test_message_options_of_user_are_unchanged_and_carrier_is_small_json(shop: Shop) -> None:
    """The carrier is one more option: a dict of strings of at most 120 bytes."""
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


def test_message_sent_twice_has_new_carrier(shop: Shop) -> None:
    """`copy` is shallow, so a carrier is replaced and never changed."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add")
    message = Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})
    shop.broker.enqueue(message)
    copy, first = message.copy(), dict(message.options["otel"])
    shop.broker.enqueue(message)
    assert copy.options["otel"] == first
    assert message.options["otel"]["traceparent"] != first["traceparent"]


def test_baggage_of_caller_arrives_in_actor(shop: Shop) -> None:
    """The actor reads the baggage that the caller has set."""
    shop.instrument()
    seen: list[object] = []
    add = shop.actor(lambda: seen.append(baggage.get_baggage("user")), actor_name="add")
    token = context.attach(baggage.set_baggage("user", "7"))
    add.send()
    context.detach(token)
    shop.work()
    assert seen == ["7"]
    assert baggage.get_baggage("user") is None


def test_message_sent_by_actor_is_child_of_its_process_span(shop: Shop) -> None:
    """The process span is current in the actor."""
    shop.instrument()
    inner = shop.actor(lambda: None, actor_name="inner")
    outer = shop.actor(lambda: inner.send() and None, actor_name="outer")
    outer.send()
    shop.work()
    send, process = shop.span("send inner"), shop.span("process outer")
    assert send.parent is not None
    assert send.parent.span_id == process.context.span_id


def test_first_message_after_middleware_was_appended_is_traced(shop: Shop) -> None:
    """On a broker that declares nothing more, the first hook is `before_enqueue`."""
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
