"""Delayed and retried messages: one trace, one span per attempt, times that are true."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dramatiq import Message
from dramatiq.errors import RateLimitExceeded, Retry
from opentelemetry import baggage, context

from tests.dramatiq.conftest import attribute, event_names, ids_of_links, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.dramatiq.conftest import Shop


def failing(times: int, error: Callable[[], Exception]) -> Callable[[], None]:
    """A function that raises as often, and then does not."""
    left = [times]

    def run() -> None:
        if left[0]:
            left[0] -= 1
            raise error()

    return run


def test_a_delayed_message_is_two_spans_and_its_wait_is_true(shop: Shop) -> None:
    """The second hop gives no span; the meant delay is told apart from the wait."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    with shop.caller():
        add.send_with_options(delay=200)
    shop.work()
    send, process = shop.spans()
    assert process.parent is not None
    assert process.parent.span_id == send.context.span_id
    delay, wait = (
        attribute(process, f"taskqueue.task.{name}") for name in ("scheduled_delay", "wait")
    )
    assert isinstance(delay, float)
    assert isinstance(wait, float)
    assert 0.19 < delay < 0.21
    assert 0 <= wait < 2
    assert shop.total("messaging.client.sent.messages") == 1


def test_a_delayed_message_keeps_its_baggage(shop: Shop) -> None:
    """The thread that moves it on has none."""
    shop.instrument()
    seen: list[object] = []
    add = shop.actor(lambda: seen.append(baggage.get_baggage("user")), actor_name="add")
    token = context.attach(baggage.set_baggage("user", "7"))
    add.send_with_options(delay=10)
    context.detach(token)
    shop.work()
    assert seen == ["7"]


def test_attempts_are_siblings_in_one_trace_linked_to_the_one_before(shop: Shop) -> None:
    """Send and three attempts are four spans."""
    shop.instrument()
    run = failing(2, lambda: ValueError("no luck"))
    shop.actor(run, actor_name="add", min_backoff=10, max_retries=3).send()
    shop.work()
    send, first, second, third = shop.spans()
    assert [outcome(span) for span in (first, second, third)] == ["retry", "retry", "success"]
    assert [attribute(span, "taskqueue.task.attempt") for span in (first, second, third)] == [
        1,
        2,
        3,
    ]
    assert attribute(third, "taskqueue.task.max_attempts") == 4
    assert {span.parent and span.parent.span_id for span in (first, second, third)} == {
        send.context.span_id
    }
    assert ids_of_links(first) == []
    assert ids_of_links(second) == [first.context.span_id]
    assert ids_of_links(third) == [second.context.span_id]
    assert shop.total("messaging.client.sent.messages") == 1
    assert shop.total("taskqueue.task.retries", error__type="ValueError") == 2
    assert shop.total("messaging.client.consumed.messages", taskqueue__task__outcome="retry") == 2


def test_a_retry_says_why_and_when(shop: Shop) -> None:
    """An event with attempt, delay and reason; no error status, no exception event."""
    shop.instrument()
    shop.actor(failing(1, lambda: ValueError("no luck")), actor_name="add", min_backoff=40).send()
    shop.work()
    first = shop.spans("process add")[0]
    assert first.status.is_unset
    assert event_names(first) == ["taskqueue.retry"]
    event = dict(first.events[0].attributes or {})
    delay = event.pop("taskqueue.retry.delay")
    assert event == {
        "taskqueue.task.attempt": 1,
        "taskqueue.retry.reason": "ValueError: no luck",
        "error.type": "ValueError",
    }
    assert isinstance(delay, float)
    assert 0 < delay < 0.1
    assert attribute(first, "taskqueue.retry.delay") == delay


def test_the_wait_of_a_retry_begins_when_it_is_due(shop: Shop) -> None:
    """Its backoff is the scheduled delay."""
    shop.instrument()
    began = time.time()
    shop.actor(failing(1, lambda: Retry("later", delay=150)), actor_name="add").send()
    shop.work()
    first, second = shop.spans("process add")
    assert attribute(first, "taskqueue.retry.reason") == "later"
    delay = attribute(second, "taskqueue.task.scheduled_delay")
    wait = attribute(second, "taskqueue.task.wait")
    assert isinstance(delay, float)
    assert isinstance(wait, float)
    assert 0.14 < delay < 0.16
    assert wait + delay < time.time() - began


def test_a_rate_limit_is_a_retry_with_that_reason(shop: Shop) -> None:
    """It is no error."""
    shop.instrument()
    run = failing(1, lambda: RateLimitExceeded("too fast"))
    shop.actor(run, actor_name="add", min_backoff=10).send()
    shop.work()
    first = shop.spans("process add")[0]
    assert (outcome(first), attribute(first, "taskqueue.retry.reason")) == ("retry", "rate_limit")
    assert first.status.is_unset


def test_a_retry_can_be_shown_as_an_error(shop: Shop) -> None:
    """With the option `retry_is_error`."""
    shop.instrument(retry_is_error=True)
    shop.actor(failing(1, lambda: ValueError("x")), actor_name="add", min_backoff=10).send()
    shop.work()
    assert not shop.spans("process add")[0].status.is_ok
    assert shop.spans("process add")[0].status.status_code.name == "ERROR"


def test_a_delayed_message_of_a_sender_without_us_has_no_send_span(shop: Shop) -> None:
    """The consumer thread only moves on what somebody else has sent."""
    message = Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})
    shop.actor(lambda: None, actor_name="add")
    shop.broker.enqueue(message, delay=20)
    shop.instrument()
    shop.work()
    (process,) = shop.spans()
    assert (process.name, process.parent) == ("process add", None)


def test_retries_of_a_sender_without_us_share_the_trace_of_the_first_attempt(shop: Shop) -> None:
    """The first attempt takes the place of the missing context."""
    message = Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})
    shop.actor(failing(2, lambda: ValueError("x")), actor_name="add", min_backoff=5)
    shop.broker.enqueue(message)
    shop.instrument()
    shop.work()
    spans = shop.spans()
    assert [span.name for span in spans] == ["process add"] * 3
    assert len({span.context.trace_id for span in spans}) == 1


def test_two_sends_of_a_consumer_threads_middleware_are_sends(shop: Shop) -> None:
    """Only the message that is held back takes the second hop."""
    shop.instrument()
    note = shop.actor(lambda: None, actor_name="note")
    middleware = type(
        "Telling",
        (type(shop.broker.middleware[1]).__mro__[1],),
        {"before_delay_message": lambda self, broker, message: note.send() and None},
    )
    shop.broker.add_middleware(middleware())
    shop.actor(lambda: None, actor_name="add").send_with_options(delay=10)
    shop.work()
    assert len(shop.spans("send note")) == 1
    assert len(shop.spans("process note")) == 1
