"""Delayed and retried messages: one trace, one span per attempt, and correct times."""

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
    """Return a function that raises that many times, and then returns."""
    left = [times]

    def run() -> None:
        if left[0]:
            left[0] -= 1
            raise error()

    return run


def test_delayed_message_has_two_spans_and_wait_without_delay(shop: Shop) -> None:
    """The second hop makes no span, and the delay is not part of the wait."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    began = time.time()
    with shop.caller():
        add.send_with_options(delay=200)
    shop.work()
    elapsed = time.time() - began
    send, process = shop.spans()
    assert process.parent is not None
    assert process.parent.span_id == send.context.span_id
    delay, wait = (
        attribute(process, f"taskqueue.task.{name}") for name in ("scheduled_delay", "wait")
    )
    assert isinstance(delay, float)
    assert isinstance(wait, float)
    assert 0.19 < delay < 0.21
    assert wait >= 0
    assert delay + wait < elapsed + 0.001
    assert shop.total("messaging.client.sent.messages") == 1


def test_delayed_message_keeps_baggage(shop: Shop) -> None:
    """The baggage of the sender arrives, although the thread of the second hop has none."""
    shop.instrument()
    seen: list[object] = []
    add = shop.actor(lambda: seen.append(baggage.get_baggage("user")), actor_name="add")
    token = context.attach(baggage.set_baggage("user", "7"))
    add.send_with_options(delay=10)
    context.detach(token)
    shop.work()
    assert seen == ["7"]


def test_attempts_are_siblings_linked_to_previous_attempt(shop: Shop) -> None:
    """A send and three attempts are four spans of one trace."""
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


def test_retry_has_event_with_attempt_delay_and_reason(shop: Shop) -> None:
    """The span of a retry has this event, no error status, and no exception event."""
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


def test_wait_of_retry_begins_when_it_is_due(shop: Shop) -> None:
    """Its backoff is the scheduled delay, and no part of the wait."""
    shop.instrument()
    began = time.time()
    shop.actor(failing(1, lambda: Retry("later", delay=150)), actor_name="add").send()
    shop.work()
    elapsed = time.time() - began
    first, second = shop.spans("process add")
    assert attribute(first, "taskqueue.retry.reason") == "later"
    delay = attribute(second, "taskqueue.task.scheduled_delay")
    wait = attribute(second, "taskqueue.task.wait")
    assert isinstance(delay, float)
    assert isinstance(wait, float)
    assert 0.14 < delay < 0.16
    assert wait + delay < elapsed + 0.001


def test_rate_limit_is_retry_with_reason_rate_limit(shop: Shop) -> None:
    """A delivery that a rate limit ends is a retry, and no error."""
    shop.instrument()
    run = failing(1, lambda: RateLimitExceeded("too fast"))
    shop.actor(run, actor_name="add", min_backoff=10).send()
    shop.work()
    first = shop.spans("process add")[0]
    assert (outcome(first), attribute(first, "taskqueue.retry.reason")) == ("retry", "rate_limit")
    assert first.status.is_unset


def test_retry_is_error_option_sets_error_status(shop: Shop) -> None:
    """With the option `retry_is_error` the span of a retry has the status ERROR."""
    shop.instrument(retry_is_error=True)
    shop.actor(failing(1, lambda: ValueError("x")), actor_name="add", min_backoff=10).send()
    shop.work()
    assert not shop.spans("process add")[0].status.is_ok
    assert shop.spans("process add")[0].status.status_code.name == "ERROR"


def test_delayed_message_of_uninstrumented_sender_has_no_send_span(shop: Shop) -> None:
    """The consumer thread moves on what another process has sent; that is no send."""
    message = Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})
    shop.actor(lambda: None, actor_name="add")
    shop.broker.enqueue(message, delay=20)
    shop.instrument()
    shop.work()
    (process,) = shop.spans()
    assert (process.name, process.parent) == ("process add", None)


def test_retries_of_message_without_context_share_trace_of_first_attempt(shop: Shop) -> None:
    """The first attempt takes the place of the missing creation context."""
    message = Message(queue_name="default", actor_name="add", args=(), kwargs={}, options={})
    shop.actor(failing(2, lambda: ValueError("x")), actor_name="add", min_backoff=5)
    shop.broker.enqueue(message)
    shop.instrument()
    shop.work()
    spans = shop.spans()
    assert [span.name for span in spans] == ["process add"] * 3
    assert len({span.context.trace_id for span in spans}) == 1


def test_middleware_sending_in_consumer_thread_makes_send_spans(shop: Shop) -> None:
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
