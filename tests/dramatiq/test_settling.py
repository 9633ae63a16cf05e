"""Spans of acks and nacks with the option `settle_spans`, and none without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware, SkipMessage
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from otel_queue_plugins.dramatiq.consumers import SuppressingConsumer, TracedConsumer
from tests.dramatiq.conftest import QUEUE, Shop, attribute
from tests.dramatiq.test_quiet import is_suppressed

if TYPE_CHECKING:
    from dramatiq import MessageProxy


class Settling(TracedConsumer):
    """A broker's own consumer, whose acks are recorded and may raise."""

    def __init__(self, consumer: Any, broker: SettlingBroker) -> None:
        super().__init__(consumer)
        self._self_broker = broker

    def ack(self, message: MessageProxy) -> None:
        self._self_broker.seen.append((trace.get_current_span(), is_suppressed()))
        if self._self_broker.errors:
            raise self._self_broker.errors.pop()
        self.__wrapped__.ack(message)


class SettlingBroker(StubBroker):
    """A broker with such consumers; they raise its `errors` first."""

    def __init__(self, *errors: BaseException) -> None:
        super().__init__()
        self.errors = list(errors)
        self.seen: list[tuple[trace.Span, bool]] = []

    def consume(self, *args: Any, **kwargs: Any) -> Settling:
        return Settling(super().consume(*args, **kwargs), self)


@pytest.mark.parametrize("position", ["first", "last"])
def test_each_delivery_has_settle_span_as_child(shop: Shop, position: str) -> None:
    """A retry is acked, a dead letter is nacked."""
    (shop.instrument if position == "first" else shop.append)(settle_spans=True)
    shop.actor(lambda: 1 / 0, actor_name="bad", max_retries=1, min_backoff=5, max_backoff=5).send()
    shop.work()
    (send,) = shop.spans("send bad")
    processes, (ack,), (nack,) = (
        shop.spans("process bad"),
        shop.spans("ack default"),
        shop.spans("nack default"),
    )
    assert len(shop.spans()) == 5
    assert [ack.parent, nack.parent] == [process.get_span_context() for process in processes]
    assert {ack.context.trace_id, nack.context.trace_id} == {send.context.trace_id}
    for span, name in ((ack, "ack"), (nack, "nack")):
        assert span.kind is SpanKind.CLIENT
        assert span.status.status_code is StatusCode.UNSET
        assert attribute(span, "messaging.operation.name") == name
        assert attribute(span, "messaging.operation.type") == "settle"
        assert attribute(span, "messaging.message.id") == attribute(send, "messaging.message.id")
        assert attribute(span, "messaging.destination.name") == QUEUE
        assert attribute(span, "messaging.system") == "stub"


def test_message_for_unknown_actor_has_nack_span_as_child(shop: Shop) -> None:
    """The consumer thread makes both spans."""
    shop.instrument(settle_spans=True)
    shop.broker.declare_queue(QUEUE)
    shop.broker.enqueue(
        Message(queue_name=QUEUE, actor_name="gone", args=(), kwargs={}, options={})
    )
    shop.work()
    process, nack = shop.span("process gone"), shop.span("nack default")
    assert nack.parent == process.get_span_context()


@pytest.mark.parametrize("noisy", [False, True])
def test_settle_span_is_current_and_suppression_follows_broker_spans(
    shop: Shop, noisy: bool
) -> None:
    """Client spans inside it exist only with `broker_spans`."""
    broker = shop.broker = SettlingBroker()
    shop.instrument(settle_spans=True, broker_spans=noisy)
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    ((current, suppressed),) = broker.seen
    assert current.get_span_context() == shop.span("ack default").get_span_context()
    assert suppressed is not noisy


def test_ack_that_raises_is_error_and_each_call_has_span(shop: Shop) -> None:
    """Dramatiq tries again after a lost connection, and each call has a span."""
    shop.broker = SettlingBroker(ConnectionClosed("gone"))
    shop.broker.emit_after("process_boot")
    shop.instrument(settle_spans=True)
    shop.actor(lambda: None, actor_name="add").send()
    message = next(shop.broker.consume(QUEUE))
    middleware = shop.broker.middleware[0]
    middleware.before_process_message(shop.broker, message)
    middleware.after_process_message(shop.broker, message)
    consumer = shop.broker.consume(QUEUE)
    with pytest.raises(ConnectionClosed):
        consumer.ack(message)
    consumer.ack(message)
    failed, worked = shop.spans("ack default")
    assert (failed.status.status_code, attribute(failed, "error.type")) == (
        StatusCode.ERROR,
        "dramatiq.errors.ConnectionClosed",
    )
    assert worked.status.status_code is StatusCode.UNSET
    assert failed.parent == worked.parent == shop.span("process add").get_span_context()
    assert not trace.get_current_span().get_span_context().is_valid


def test_message_without_process_span_has_no_settle_span(shop: Shop) -> None:
    """This holds for the first hop of a delayed message, and for what is not traced."""
    shop.instrument(settle_spans=True)
    shop.actor(lambda: None, actor_name="add").send_with_options(delay=5)
    shop.actor(lambda: None, actor_name="untold", otel_trace=False).send()
    shop.work()
    assert [span.name for span in shop.spans()] == ["send add", "process add", "ack default"]


def test_skipped_message_has_ack_span_as_child(shop: Shop) -> None:
    """A skipped delivery is settled like any other."""

    class Moody(Middleware):
        def before_process_message(self, _broker: Any, _message: Any) -> None:
            raise SkipMessage

    shop.instrument(settle_spans=True)
    shop.broker.add_middleware(Moody())
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert shop.span("ack default").parent == shop.span("process add").get_span_context()


def test_default_options_make_no_settle_span_and_no_wrapper(shop: Shop) -> None:
    """Without the option there is no cost."""
    shop.instrument()
    shop.actor(lambda: 1 / 0, actor_name="bad", max_retries=0).send()
    shop.work()
    assert [span.name for span in shop.spans()] == ["send bad", "process bad"]
    assert type(shop.broker.consume(QUEUE)) is SuppressingConsumer
