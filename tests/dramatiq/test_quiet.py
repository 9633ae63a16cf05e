"""Client spans exist for what user code does, and not for what a worker does between messages."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware, SkipMessage
from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_queue_plugins.dramatiq import uninstrument
from tests.dramatiq.conftest import QUEUE

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop


def is_suppressed() -> bool:
    """Return whether instrumentation is suppressed; both keys must agree."""
    found = {
        bool(context.get_value(key))
        for key in ("suppress_instrumentation", _SUPPRESS_INSTRUMENTATION_KEY)
    }
    assert len(found) == 1
    return found.pop()


class Client(Consumer):
    """A consumer that records for each call whether instrumentation was suppressed."""

    def __init__(self, consumer: Any, seen: dict[str, set[bool]]) -> None:
        self.consumer = consumer
        self.seen = seen

    def note(self, what: str) -> None:
        self.seen.setdefault(what, set()).add(is_suppressed())

    def __next__(self) -> Any:
        self.note("poll")
        return next(self.consumer)

    def ack(self, message: Any) -> None:
        self.note("ack")
        self.consumer.ack(message)

    def nack(self, message: Any) -> None:
        self.note("nack")
        self.consumer.nack(message)

    def requeue(self, messages: Any) -> None:
        self.note("requeue")


class ClientBroker(StubBroker):
    """A broker with such a consumer."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[bool]] = {}

    def consume(self, *args: Any, **kwargs: Any) -> Client:
        """Return such a consumer."""
        return Client(super().consume(*args, **kwargs), self.seen)

    def enqueue(self, message: Any, *, delay: Any = None) -> Any:
        """Enqueue, and record whether instrumentation is suppressed."""
        where = type(threading.current_thread()).__name__.strip("_")
        self.seen.setdefault(f"enqueue by {where}", set()).add(is_suppressed())
        return super().enqueue(message, delay=delay)


@pytest.mark.parametrize("noisy", [False, True])
def test_worker_calls_to_broker_are_suppressed_without_broker_spans(
    shop: Shop, noisy: bool
) -> None:
    """Calls that a worker makes of its own accord are suppressed, unless `broker_spans` is set."""
    broker = shop.broker = ClientBroker()
    shop.instrument(broker_spans=noisy)

    def run() -> None:
        broker.seen.setdefault("actor", set()).add(is_suppressed())
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
        "requeue": {not noisy},
        "enqueue by ConsumerThread": {not noisy},
        "enqueue by WorkerThread": {False},
        "enqueue by MainThread": {False},
        "actor": {False},
    }


HOOKS = (
    *("before_delay_message", "before_process_message", "after_process_message"),
    *("after_skip_message", "before_ack", "after_ack", "before_nack", "after_nack"),
)


class Watching(Middleware):
    """Records in every hook of a message the current span, and whether suppression is on."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], tuple[int, bool]] = {}
        for hook in HOOKS:
            setattr(self, hook, partial(self._note, hook))

    def _note(self, hook: str, _broker: Any, message: Any, **_: Any) -> None:
        span_id = trace.get_current_span().get_span_context().span_id
        self.seen[message.actor_name, hook] = span_id, is_suppressed()

    @property
    def actor_options(self) -> set[str]:
        return {"skipped"}


class Skipping(Middleware):
    def before_process_message(self, broker: Any, message: Any) -> None:
        if message.actor_name == "skipped":
            raise SkipMessage


def test_hooks_of_middleware_have_process_span_current_without_suppression(shop: Shop) -> None:
    """Also while the message is settled, and in the consumer thread."""
    watching = Watching()
    shop.broker.add_middleware(watching)
    shop.broker.add_middleware(Skipping())
    shop.instrument()
    for name, run in {"add": lambda: None, "bad": lambda: 1 / 0, "skipped": lambda: None}.items():
        shop.actor(run, actor_name=name, max_retries=0).send()
    shop.broker.enqueue(Message(QUEUE, "gone", (), {}, {}))
    shop.work()
    seen = watching.seen
    span_ids = {name: shop.span(f"process {name}").context.span_id for name, _ in seen}
    assert {hook for name, hook in seen if name == "add"} == {
        "before_process_message",
        "after_process_message",
        "before_ack",
        "after_ack",
    }
    assert {hook for name, hook in seen if name == "skipped"} == {
        "before_process_message",
        "after_skip_message",
        "before_ack",
        "after_ack",
    }
    assert {hook for name, hook in seen if name == "bad"} == {
        "before_process_message",
        "after_process_message",
        "before_nack",
        "after_nack",
    }
    assert {hook for name, hook in seen if name == "gone"} == {"before_nack", "after_nack"}
    for (name, hook), (span_id, suppressed) in seen.items():
        assert (span_id, suppressed) == (span_ids[name], False), (name, hook)


def test_hook_for_delayed_message_is_not_suppressed(shop: Shop) -> None:
    """It is no delivery yet, and no call of the worker between messages."""
    watching = Watching()
    shop.broker.add_middleware(watching)
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send_with_options(delay=5)
    shop.work()
    assert watching.seen["add", "before_delay_message"] == (0, False)


def test_repeated_nack_hooks_have_process_span_current(shop: Shop) -> None:
    """Dramatiq repeats the nack of a message for an unknown actor, with its hooks."""
    middleware = shop.instrument()
    seen: list[int] = []
    proxy = MessageProxy(Message(QUEUE, "gone", (), {}, {}))
    other = MessageProxy(Message(QUEUE, "gone", (), {}, {}))

    def thread() -> None:
        middleware.after_consumer_thread_boot(shop.broker, threading.current_thread())
        for message in (proxy, proxy, other):
            middleware.before_nack(shop.broker, message)
            seen.append(trace.get_current_span().get_span_context().span_id)
        middleware.after_nack(shop.broker, other)
        seen.append(trace.get_current_span().get_span_context().span_id)

    running = threading.Thread(target=thread)
    running.start()
    running.join()
    first, second = (span.context.span_id for span in shop.spans("process gone"))
    assert seen == [first, first, second, 0]


def test_consumer_delegates_attributes_and_is_gone_after_uninstrument(shop: Shop) -> None:
    """Attributes that it does not define are those of the broker's consumer."""
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
