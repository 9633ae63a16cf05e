"""Hooks in any order, repeated or left out: no exception, one record, and no context left over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq import Message
from dramatiq.broker import MessageProxy
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import SkipMessage
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_queue_plugins.core.operation import current_delivery
from otel_queue_plugins.dramatiq import OpenTelemetryMiddleware, delivery_state, uninstrument
from tests.dramatiq.conftest import outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.dramatiq.conftest import Shop

HOOKS: dict[str, Callable[[OpenTelemetryMiddleware, StubBroker, Any], None]] = {
    "begin": lambda m, b, x: m.before_process_message(b, x),
    "done": lambda m, b, x: m.after_process_message(b, x, result=1),
    "error": lambda m, b, x: m.after_process_message(b, x, exception=ValueError("x")),
    "skip": lambda m, b, x: m.after_skip_message(b, x),
    "fail": lambda m, b, x: x.fail(),
    "ack": lambda m, b, x: m.before_ack(b, x),
    "after_ack": lambda m, b, x: m.after_ack(b, x),
    "nack": lambda m, b, x: m.before_nack(b, x),
    "after_nack": lambda m, b, x: m.after_nack(b, x),
    "delay": lambda m, b, x: m.before_delay_message(b, x),
    "enqueue": lambda m, b, x: m.before_enqueue(b, x, None),
    "enqueued": lambda m, b, x: m.after_enqueue(b, x, None),
    "send": lambda m, b, x: b.enqueue(x),
    "retry": lambda m, b, x: b.enqueue(x, delay=5),
}
SENDS = {"send", "retry", "enqueue"}


def message() -> Message[Any]:
    """Return a message that has not been sent yet."""
    return Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})


@given(
    st.lists(st.tuples(st.sampled_from(sorted(HOOKS)), st.integers(0, 2)), max_size=25),
    st.booleans(),
)
@settings(max_examples=300)
def test_hooks_in_any_order_make_at_most_one_process_span(
    calls: list[tuple[str, int]], first: bool
) -> None:
    """A delivery that began and is settled has exactly one span, and leaves no context behind."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    broker = StubBroker()
    dramatiq.actor(lambda: None, actor_name="add", broker=broker)
    middleware = OpenTelemetryMiddleware(
        tracer_provider=provider, meter_provider=NoOpMeterProvider()
    )
    broker.add_middleware(middleware)
    if first:
        broker.middleware.insert(0, broker.middleware.pop())
    proxies = [MessageProxy(message()) for _ in range(3)]
    for hook, index in calls:
        HOOKS[hook](middleware, broker, proxies[index])
    for proxy in reversed(proxies):
        middleware.before_ack(broker, proxy)
    spans = [span for span in exporter.get_finished_spans() if span.name == "process add"]
    begun = {
        proxies[index].message_id
        for hook, index in calls
        if hook in ("begin", "done", "error", "skip")
    }
    ids = [(span.attributes or {})["messaging.message.id"] for span in spans]
    left = dict(context.get_current())
    uninstrument(broker)
    assert sorted(ids) == sorted(begun)
    assert all(outcome(span) for span in spans)
    assert left == {}
    assert delivery_state.current_state() is None
    assert current_delivery.get() is None


def test_delivery_without_end_is_lost_when_next_one_begins(shop: Shop) -> None:
    """A worker thread runs one delivery after another."""
    middleware = shop.instrument()
    first, second = MessageProxy(message()), MessageProxy(message())

    def thread() -> None:
        middleware.after_worker_thread_boot(shop.broker, threading.current_thread())
        middleware.before_process_message(shop.broker, first)
        middleware.before_process_message(shop.broker, second)
        middleware.after_process_message(shop.broker, second)

    running = threading.Thread(target=thread)
    running.start()
    running.join()
    assert [outcome(span) for span in shop.spans()] == ["lost", "success"]


def test_eager_broker_nests_deliveries(shop: Shop) -> None:
    """Eager brokers process at once, with plain messages instead of proxies and without an ack."""

    class Eager(StubBroker):
        def enqueue(self, message: Any, *, delay: Any = None) -> Any:
            self.emit_before("enqueue", message, delay)
            self.emit_before("process_message", message)
            self.get_actor(message.actor_name)(*message.args)
            self.emit_after("process_message", message, result=None)
            self.emit_after("enqueue", message, delay)
            return message

    shop.broker = Eager(middleware=[])
    shop.instrument()
    inner = shop.actor(lambda: None, actor_name="inner")
    outer = shop.actor(inner.send, actor_name="outer")
    outer.send()
    assert [span.name for span in shop.spans()] == [
        "send outer",
        "process outer",
        "send inner",
        "process inner",
    ]
    parents = [span.parent and span.parent.span_id for span in shop.spans()]
    assert parents[1:] == [span.context.span_id for span in shop.spans()[:3]]
    assert not context.get_current()


def test_ack_in_other_thread_ends_process_span(shop: Shop) -> None:
    """The first thread goes on with its next delivery as if the ack had been its own."""
    middleware = shop.append()
    proxy, following = MessageProxy(message()), MessageProxy(message())
    left: list[object] = []

    def first_thread() -> None:
        middleware.before_process_message(shop.broker, proxy)
        middleware.after_process_message(shop.broker, proxy)
        other = threading.Thread(target=middleware.before_ack, args=(shop.broker, proxy))
        other.start()
        other.join()
        before = trace.get_current_span()
        middleware.before_process_message(shop.broker, following)
        middleware.after_process_message(shop.broker, following)
        middleware.before_ack(shop.broker, following)
        left.append(trace.get_current_span() is before)
        left.append(delivery_state.current_state())

    running = threading.Thread(target=first_thread)
    running.start()
    running.join()
    assert [outcome(span) for span in shop.spans()] == ["success", "success"]
    assert left == [True, None]


def test_hooks_with_object_that_is_no_message_do_not_raise(shop: Shop) -> None:
    """An error in this package is logged and never raised."""
    middleware = shop.instrument()
    for hook in ("begin", "done", "skip", "ack", "nack", "delay", "enqueue"):
        HOOKS[hook](middleware, shop.broker, object())
    assert shop.spans() == []


def test_skip_without_current_exception_is_skipped(shop: Shop) -> None:
    """Another broker may call the hook outside of an exception handler."""
    middleware = shop.instrument()
    proxy = MessageProxy(message())
    middleware.before_process_message(shop.broker, proxy)
    middleware.after_skip_message(shop.broker, proxy)
    assert (shop.span("process add").attributes or {})["taskqueue.skip.reason"] == "unknown"


def test_skip_raised_outside_of_middleware_has_reason_unknown(shop: Shop) -> None:
    """The reason names a middleware of this broker, and nothing else."""
    middleware = shop.instrument()
    proxy = MessageProxy(message())
    middleware.before_process_message(shop.broker, proxy)
    try:
        _raise(SkipMessage("somewhere"))
    except SkipMessage:
        middleware.after_skip_message(shop.broker, proxy)
    assert (shop.span("process add").attributes or {})["taskqueue.skip.reason"] == "unknown"


def _raise(error: Exception) -> None:
    raise error
