"""Spans for acks and nacks, for those who ask for them and for nobody else."""

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
from tests.dramatiq.test_quiet import is_quiet

if TYPE_CHECKING:
    from dramatiq import MessageProxy


class Settling(TracedConsumer):
    """A broker's own consumer, whose acks may be observed and fail."""

    def __init__(self, consumer: Any, broker: SettlingBroker) -> None:
        super().__init__(consumer)
        self._self_broker = broker

    def ack(self, message: MessageProxy) -> None:
        self._self_broker.seen.append((trace.get_current_span(), is_quiet()))
        if self._self_broker.errors:
            raise self._self_broker.errors.pop()
        self.__wrapped__.ack(message)


class SettlingBroker(StubBroker):
    """A broker with such consumers; raises its `errors` first."""

    def __init__(self, *errors: BaseException) -> None:
        super().__init__()
        self.errors = list(errors)
        self.seen: list[tuple[trace.Span, bool]] = []

    def consume(self, *args: Any, **kwargs: Any) -> Settling:
        return Settling(super().consume(*args, **kwargs), self)


@pytest.mark.parametrize("position", ["first", "last"])
def test_every_delivery_has_a_settle_span(shop: Shop, position: str) -> None:
    """A retry is acked, a dead letter nacked; each is a child of its own delivery."""
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


def test_an_unknown_task_is_nacked_under_its_process_span(shop: Shop) -> None:
    """The consumer thread does both."""
    shop.instrument(settle_spans=True)
    shop.broker.declare_queue(QUEUE)
    shop.broker.enqueue(
        Message(queue_name=QUEUE, actor_name="gone", args=(), kwargs={}, options={})
    )
    shop.work()
    process, nack = shop.span("process gone"), shop.span("nack default")
    assert nack.parent == process.get_span_context()


@pytest.mark.parametrize("noisy", [False, True])
def test_the_client_is_quiet_under_the_settle_span(shop: Shop, noisy: bool) -> None:
    """The span is current during the call; what the client traces follows `broker_spans`."""
    broker = shop.broker = SettlingBroker()
    shop.instrument(settle_spans=True, broker_spans=noisy)
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    ((current, quiet),) = broker.seen
    assert current.get_span_context() == shop.span("ack default").get_span_context()
    assert quiet is not noisy


def test_a_settling_that_fails_is_an_error_and_one_more_span(shop: Shop) -> None:
    """Dramatiq tries again where the broker may come back: each call is told."""
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


def test_what_has_no_process_span_has_no_settle_span(shop: Shop) -> None:
    """The first hop of a delayed message, and what is not traced at all."""
    shop.instrument(settle_spans=True)
    shop.actor(lambda: None, actor_name="add").send_with_options(delay=5)
    shop.actor(lambda: None, actor_name="untold", otel_trace=False).send()
    shop.work()
    assert [span.name for span in shop.spans()] == ["send add", "process add", "ack default"]


def test_a_skipped_message_is_acked_under_its_span(shop: Shop) -> None:
    """Skipping is an end like others."""

    class Moody(Middleware):
        def before_process_message(self, _broker: Any, _message: Any) -> None:
            raise SkipMessage

    shop.instrument(settle_spans=True)
    shop.broker.add_middleware(Moody())
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert shop.span("ack default").parent == shop.span("process add").get_span_context()


def test_nothing_of_it_is_there_by_default(shop: Shop) -> None:
    """No span, and no wrapper: it costs nothing."""
    shop.instrument()
    shop.actor(lambda: 1 / 0, actor_name="bad", max_retries=0).send()
    shop.work()
    assert [span.name for span in shop.spans()] == ["send bad", "process bad"]
    assert type(shop.broker.consume(QUEUE)) is SuppressingConsumer
