"""Times are read as Dramatiq reads them; a wrong time is left out, and nothing else changes."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import Retry
from dramatiq.middleware import AgeLimit, Retries

from otel_queue_plugins.dramatiq import uninstrument
from tests.dramatiq.conftest import QUEUE, Shop, attribute, outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

NO_TIMES = [None, "yesterday", [1], 10**400, float("inf"), float("-inf"), float("nan")]


def message(**facts: Any) -> Message[Any]:
    """Return a message made by hand."""
    options = facts.pop("options", {})
    return Message(QUEUE, "add", (), {}, options, **facts)


def waited(span: ReadableSpan, name: str) -> float:
    """Return a time in `taskqueue.task`."""
    found = attribute(span, f"taskqueue.task.{name}")
    assert isinstance(found, float)
    return found


@pytest.mark.parametrize("born", NO_TIMES, ids=repr)
@pytest.mark.parametrize("instrumented", [True, False])
def test_message_with_wrong_timestamp_is_traced_without_times(
    shop: Shop, born: Any, instrumented: bool
) -> None:
    """Dramatiq reads `message_timestamp` only for an age limit; a span does not need it."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add")
    if not instrumented:
        uninstrument(shop.broker)
    shop.broker.enqueue(message(message_timestamp=born))
    shop.instrument()
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "success"
    assert ("taskqueue.task.wait" in dict(process.attributes or {})) is instrumented
    assert attribute(process, "taskqueue.task.deadline_remaining") is None


def test_message_with_option_eta_has_scheduled_delay_until_then(shop: Shop) -> None:
    """Dramatiq's consumers hold it back as if it had been sent with a delay."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add")
    began = time.time()
    shop.broker.enqueue(message(options={"eta": int(began * 1000) + 200}))
    shop.work()
    elapsed = time.time() - began
    send, process = shop.spans()
    assert process.parent is not None
    assert process.parent.span_id == send.context.span_id
    assert 0.15 < waited(process, "scheduled_delay") <= 0.201
    assert 0.2 + waited(process, "wait") < elapsed + 0.001


@pytest.mark.parametrize("retried", [False, True])
def test_delay_of_uninstrumented_sender_is_no_wait(shop: Shop, retried: bool) -> None:
    """The consumer thread, which has the eta, writes it for the worker thread."""
    shop.actor(lambda: None, actor_name="add")
    began = time.time()
    options = {"requeue_timestamp": int(began * 1000), "retries": 1} if retried else {}
    an_hour_ago = int(began * 1000) - 3_600_000
    born = {"message_timestamp": an_hour_ago} if retried else {}
    shop.broker.enqueue(message(options=options, **born), delay=200)
    shop.instrument()
    shop.work()
    elapsed = time.time() - began
    (process,) = shop.spans()
    assert process.parent is None
    assert attribute(process, "taskqueue.task.attempt") == 1 + retried
    delay, wait = waited(process, "scheduled_delay"), waited(process, "wait")
    assert 0.19 < delay < 0.21
    assert delay + wait < elapsed + 0.001


@pytest.mark.parametrize("eta", [None, "soon", float("nan")], ids=repr)
def test_message_with_wrong_eta_is_sent_with_span(shop: Shop, eta: object) -> None:
    """A wrong eta counts as absent."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add")
    shop.broker.enqueue(message(options={"eta": eta}))
    assert attribute(shop.span("send add"), "messaging.message.id") is not None


@pytest.mark.parametrize(
    "delay", [timedelta(seconds=1), "soon", object()], ids=["timedelta", "text", "object"]
)
def test_send_with_delay_that_dramatiq_refuses_ends_span_with_error(
    shop: Shop, delay: object
) -> None:
    """The caller gets Dramatiq's exception."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add")
    with pytest.raises(TypeError):
        shop.broker.enqueue(message(), delay=delay)
    assert attribute(shop.span("send add"), "error.type") == "TypeError"


def test_retry_with_delay_that_dramatiq_refuses_is_lost(shop: Shop) -> None:
    """Dramatiq acks the message and enqueues no other."""
    shop.instrument()

    def run() -> None:
        raise Retry("later", delay=timedelta(seconds=1))  # type: ignore[arg-type]

    shop.actor(run, actor_name="add")
    shop.broker.enqueue(message())
    shop.work()
    process = shop.span("process add")
    reason = "the retry was not enqueued: TypeError"
    assert (outcome(process), attribute(process, "taskqueue.lost.reason")) == ("lost", reason)


@pytest.mark.parametrize("max_age", [60_000, 60_000.0])
@pytest.mark.parametrize("where", ["middleware", "actor", "message"])
def test_deadline_remaining_counts_from_message_timestamp(
    shop: Shop, where: str, max_age: float
) -> None:
    """The middleware, the actor or the message may set the limit, as any number."""
    chosen = {"max_age": max_age}
    shop.broker = StubBroker(middleware=[AgeLimit(**(chosen if where == "middleware" else {}))])
    shop.instrument()
    shop.actor(lambda: None, actor_name="add", **(chosen if where == "actor" else {}))
    born = int(time.time() * 1000) - 10_000
    options = chosen if where == "message" else {}
    shop.broker.enqueue(message(message_timestamp=born, options=options))
    shop.work()
    assert 45 < waited(shop.span("process add"), "deadline_remaining") <= 50


@pytest.mark.parametrize("limiter", ["actor", "nobody"])
def test_age_limit_that_is_off_sets_no_deadline(shop: Shop, limiter: str) -> None:
    """An actor may switch the broker's limit off; without `AgeLimit` there is none."""
    middleware = [AgeLimit(max_age=60_000)] if limiter == "actor" else []
    shop.broker = StubBroker(middleware=middleware)
    shop.instrument()
    shop.actor(lambda: None, actor_name="add", **({"max_age": None} if middleware else {}))
    shop.broker.enqueue(message(options={} if middleware else {"max_age": 60_000}))
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "success"
    assert attribute(process, "taskqueue.task.deadline_remaining") is None


@pytest.mark.parametrize(
    ("actor", "options", "most"),
    [
        ({}, {"max_retries": 2}, 3),
        ({}, {"max_retries": None}, None),
        ({"max_retries": -1}, {}, 1),
        ({"retry_when": lambda *_: False}, {"max_retries": 2}, None),
    ],
)
def test_max_attempts_follow_options_as_retries_reads_them(
    shop: Shop, actor: dict[str, Any], options: dict[str, Any], most: int | None
) -> None:
    """`retry_when` wins over any number."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add", **actor)
    shop.broker.enqueue(message(options=options))
    shop.work()
    assert attribute(shop.span("process add"), "taskqueue.task.max_attempts") == most


def test_max_retries_without_retries_middleware_is_ignored(shop: Shop) -> None:
    """No middleware reads the option then."""
    shop.broker.middleware = [m for m in shop.broker.middleware if not isinstance(m, Retries)]
    shop.instrument()
    shop.actor(lambda: None, actor_name="add")
    shop.broker.enqueue(message(options={"max_retries": 2}))
    shop.work()
    assert attribute(shop.span("process add"), "taskqueue.task.max_attempts") is None
