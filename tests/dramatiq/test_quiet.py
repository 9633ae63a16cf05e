"""Instrumented clients trace what user code does, not what a worker does between messages."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq.broker import Consumer
from dramatiq.brokers.stub import StubBroker
from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_queue_plugins.dramatiq import uninstrument

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop


def is_quiet() -> bool:
    """As instrumentations ask, by either key; both must agree."""
    found = {
        bool(context.get_value(key))
        for key in ("suppress_instrumentation", _SUPPRESS_INSTRUMENTATION_KEY)
    }
    assert len(found) == 1
    return found.pop()


class Client(Consumer):
    """A consumer that notes whether a client span would have been made, by what it did."""

    def __init__(self, consumer: Any, seen: dict[str, set[bool]]) -> None:
        self.consumer = consumer
        self.seen = seen

    def note(self, what: str) -> None:
        self.seen.setdefault(what, set()).add(is_quiet())

    def __next__(self) -> Any:
        self.note("poll")
        return next(self.consumer)

    def ack(self, message: Any) -> None:
        self.note("ack")
        self.consumer.ack(message)

    def nack(self, message: Any) -> None:
        self.note("nack")
        self.consumer.nack(message)


class ClientBroker(StubBroker):
    """A broker with such a client."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[bool]] = {}

    def consume(self, *args: Any, **kwargs: Any) -> Client:
        """Consume."""
        return Client(super().consume(*args, **kwargs), self.seen)

    def enqueue(self, message: Any, *, delay: Any = None) -> Any:
        """Enqueue."""
        where = type(threading.current_thread()).__name__.strip("_")
        self.seen.setdefault(f"enqueue by {where}", set()).add(is_quiet())
        return super().enqueue(message, delay=delay)


@pytest.mark.parametrize("noisy", [False, True])
def test_what_is_quiet(shop: Shop, noisy: bool) -> None:
    """Polls, acks, nacks and second hops; all of it may be allowed with `broker_spans`."""
    broker = shop.broker = ClientBroker()
    shop.instrument(broker_spans=noisy)

    def run() -> None:
        broker.seen.setdefault("actor", set()).add(is_quiet())
        inner.send()

    inner = shop.actor(lambda: None, actor_name="inner")
    outer = shop.actor(run, actor_name="outer")
    bad = shop.actor(lambda: 1 / 0, actor_name="bad", max_retries=0)
    outer.send_with_options(delay=5)
    bad.send()
    shop.work()
    assert broker.seen == {
        "poll": {not noisy},
        "ack": {not noisy},
        "nack": {not noisy},
        "enqueue by ConsumerThread": {not noisy},
        "enqueue by WorkerThread": {False},
        "enqueue by MainThread": {False},
        "actor": {False},
    }


def test_a_consumer_of_ours_is_as_good_as_the_brokers_own(shop: Shop) -> None:
    """What it does not know it hands on, and after `uninstrument` it is not used."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send()
    consumer = shop.broker.consume("default", timeout=7)
    assert isinstance(consumer, Consumer)
    assert consumer.timeout == 7
    with pytest.raises(AttributeError):
        _ = consumer.no_such_thing
    message = next(iter(consumer))
    consumer.requeue([message])
    consumer.ack(message)
    consumer.close()
    held = shop.broker.consume
    uninstrument(shop.broker)
    assert type(held("default")).__name__ == "_StubConsumer"
