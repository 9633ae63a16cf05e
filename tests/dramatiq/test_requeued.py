"""A message that is enqueued again during its delivery: by user code, or for a retry."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message, pipeline
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import CurrentMessage, Middleware, Retries, SkipMessage

from tests.dramatiq.conftest import QUEUE, attribute, ids_of_links, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.dramatiq.conftest import Shop

ATTEMPT = "taskqueue.task.attempt"
RETRIES = "taskqueue.task.retries"
SENT = "messaging.client.sent.messages"
CURRENT = CurrentMessage.get_current_message


def in_thread(call: Callable[[], object]) -> None:
    """Call in a new thread, and wait for its end."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


class Once(Middleware):
    """Acts in one hook of the first delivery."""

    def __init__(self, moment: str, act: Callable[[Any, Any], object]) -> None:
        self.left = 1
        self.act = act
        setattr(self, moment, self._on_moment)

    def _on_moment(self, broker: Any, message: Any, *_: Any, **__: Any) -> None:
        if self.left:
            self.left = 0
            self.act(broker, message)


def again(broker: Any, message: Any) -> None:
    """Enqueue a copy with one more option."""
    broker.enqueue(message.copy(options={"turn": 1}), delay=5)


def same(broker: Any, message: Any) -> None:
    """Enqueue the same message object that is being delivered."""
    broker.enqueue(message)


def by_hand(broker: Any, message: Any) -> None:
    """Enqueue a new message with the same id."""
    options = {"max_retries": message.options.get("max_retries")}
    broker.enqueue(
        Message(QUEUE, message.actor_name, (), {}, options, message_id=message.message_id)
    )


def with_context(broker: Any, message: Any) -> None:
    """Enqueue in a thread that has a copy of the actor's context."""
    here = contextvars.copy_context()
    in_thread(lambda: here.run(again, broker, message))


def without_context(broker: Any, message: Any) -> None:
    """Enqueue in a thread with an empty context."""
    in_thread(lambda: again(broker, message))


WAYS = [again, same, by_hand, with_context, without_context]
HOOKS = ["before_process_message", "after_process_message", "before_ack", "after_ack"]


def parent_id(span: ReadableSpan) -> int | None:
    """Return the id of the span's parent; None for a root."""
    return span.parent.span_id if span.parent else None


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_actor_that_sends_its_own_message_keeps_its_outcome(
    shop: Shop, way: Callable[[Any, Any], None], fails: bool, position: str
) -> None:
    """What it sends is a new send, and starts at attempt 1."""
    shop.broker.add_middleware(CurrentMessage())
    (shop.instrument if position == "first" else shop.append)()
    turns: list[int] = []

    def poll() -> None:
        turns.append(1)
        if len(turns) == 1:
            way(shop.broker, CURRENT())
            if fails:
                raise ValueError("for good")

    shop.actor(poll, actor_name="poll", max_retries=0).send()
    shop.work()
    (sent, sent_again), (first, second) = shop.spans("send poll"), shop.spans("process poll")
    assert [outcome(first), outcome(second)] == ["dead_letter" if fails else "success", "success"]
    assert len(shop.broker.dead_letters) == int(fails)
    assert first.status.is_unset is not fails
    assert parent_id(sent_again) == (None if way is without_context else first.context.span_id)
    assert [parent_id(first), parent_id(second)] == [
        sent.context.span_id,
        sent_again.context.span_id,
    ]
    assert [attribute(first, ATTEMPT), attribute(second, ATTEMPT)] == [1, 1]
    assert ids_of_links(second) == []
    assert {attribute(span, "taskqueue.task.trigger") for span in (first, second)} == {"call"}
    assert len({attribute(span, "messaging.message.id") for span in shop.spans()}) == 1
    assert (shop.total(SENT), shop.total(RETRIES)) == (2, 0)


def test_actor_that_sends_its_own_message_may_be_retried(shop: Shop) -> None:
    """What `Retries` enqueues is the retry, with its creation context and its attempt."""
    shop.broker.add_middleware(CurrentMessage())
    shop.instrument()
    turns: list[int] = []

    def poll() -> None:
        turns.append(1)
        if len(turns) == 1:
            again(shop.broker, CURRENT())
            raise ValueError

    shop.actor(poll, actor_name="poll", max_retries=1, min_backoff=60, max_backoff=60).send()
    shop.work()
    sent, sent_again = shop.spans("send poll")
    first, other, retried = shop.spans("process poll")
    assert [outcome(span) for span in (first, other, retried)] == ["retry", "success", "success"]
    assert [attribute(span, ATTEMPT) for span in (first, other, retried)] == [1, 1, 2]
    assert parent_id(first) == parent_id(retried) == sent.context.span_id
    assert parent_id(other) == sent_again.context.span_id
    assert ids_of_links(retried) == [first.context.span_id]
    assert (shop.total(SENT), shop.total(RETRIES)) == (2, 1)


def test_relation_link_holds_for_message_sent_again(shop: Shop) -> None:
    """It has a trace of its own, with a link to its send span inside the first delivery."""
    shop.broker.add_middleware(CurrentMessage())
    shop.instrument(relation="link")
    left = [1]
    shop.actor(
        lambda: left and left.pop() and again(shop.broker, CURRENT()), actor_name="poll"
    ).send()
    shop.work()
    (_, sent_again), (first, second) = shop.spans("send poll"), shop.spans("process poll")
    assert parent_id(sent_again) == first.context.span_id
    assert parent_id(second) is None
    assert ids_of_links(second) == [sent_again.context.span_id]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("place", ["before Retries", "after Retries"])
def test_middleware_that_enqueues_current_message_makes_send_span(
    shop: Shop, hook: str, place: str
) -> None:
    """This holds for every hook, and the outcome of the delivery is unchanged."""
    where = {"before": Retries} if place == "before Retries" else {}
    shop.broker.add_middleware(Once(hook, again), **where)
    shop.instrument()
    shop.actor(lambda: None, actor_name="poll").send()
    shop.work()
    (_, sent_again), (first, second) = shop.spans("send poll"), shop.spans("process poll")
    assert [outcome(first), outcome(second)] == ["success", "success"]
    assert parent_id(second) == sent_again.context.span_id
    assert shop.total(RETRIES) == 0


@pytest.mark.parametrize("place", ["before Retries", "after Retries"])
@pytest.mark.parametrize("retries", [0, 1])
def test_middleware_that_enqueues_failed_message_beside_retries_makes_send_span(
    shop: Shop, place: str, retries: int
) -> None:
    """The outcome of the delivery is what `Retries` decides."""
    where = {"before": Retries} if place == "before Retries" else {}
    shop.broker.add_middleware(Once("after_process_message", by_hand), **where)
    shop.instrument()
    left = [1]

    def run() -> None:
        if left:
            left.pop()
            raise ValueError

    options = {"max_retries": retries, "min_backoff": 60, "max_backoff": 60}
    shop.actor(run, actor_name="poll", **options).send()
    shop.work()
    first, *others = shop.spans("process poll")
    assert outcome(first) == ("retry" if retries else "dead_letter")
    assert [outcome(span) for span in others] == ["success"] * (1 + retries)
    assert (shop.total(SENT), shop.total(RETRIES)) == (2, retries)
    assert len(shop.broker.dead_letters) == 1 - retries


def test_middleware_that_postpones_message_skips_and_sends_it(shop: Shop) -> None:
    """A middleware that limits rates before the actor runs does so."""

    def postpone(broker: Any, message: Any) -> None:
        again(broker, message)
        raise SkipMessage

    shop.broker.add_middleware(Once("before_process_message", postpone))
    shop.instrument()
    shop.actor(lambda: None, actor_name="poll").send()
    shop.work()
    (_, sent_again), (first, second) = shop.spans("send poll"), shop.spans("process poll")
    assert [outcome(first), outcome(second)] == ["skipped", "success"]
    assert parent_id(sent_again) == first.context.span_id


class OtherRetries(Middleware):
    """A replacement of Dramatiq's `Retries` that does not derive from it."""

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        count = message.options.get("retries", 0)
        if exception is not None and count < 2:
            message = message.copy(options={"retries": count + 1})
            broker.enqueue(message, delay=5)
        elif exception is not None:
            message.fail()


class TimedRetries(Retries):
    """A subclass of `Retries`."""

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        super().after_process_message(broker, message, result=result, exception=exception)


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("kind", [OtherRetries, TimedRetries])
@pytest.mark.parametrize(
    "error", [ValueError(), RateLimitExceeded("slow"), Retry("later", delay=5)]
)
def test_other_retry_middleware_makes_retries(
    shop: Shop, kind: type[Middleware], error: Exception, position: str
) -> None:
    """There is one send span, the attempts count up, and the last one is a dead letter."""
    shop.broker = StubBroker(middleware=[kind()])
    (shop.instrument if position == "first" else shop.append)()

    def run() -> None:
        raise error

    shop.actor(run, actor_name="poll", **({"min_backoff": 5} if kind is TimedRetries else {}))
    shop.broker.enqueue(Message(QUEUE, "poll", (), {}, {"max_retries": 2}))
    shop.work()
    attempts = shop.spans("process poll")
    assert [outcome(span) for span in attempts] == ["retry", "retry", "dead_letter"]
    assert [attribute(span, ATTEMPT) for span in attempts] == [1, 2, 3]
    assert {parent_id(span) for span in attempts} == {shop.span("send poll").context.span_id}
    assert ids_of_links(attempts[2]) == [attempts[1].context.span_id]
    assert (shop.total(SENT), shop.total(RETRIES)) == (1, 2)


def test_actor_that_sends_itself_and_raises_without_retries_is_failure(shop: Shop) -> None:
    """No one retries that delivery."""
    shop.broker = StubBroker(middleware=[CurrentMessage()])
    shop.instrument()
    left = [1]

    def run() -> None:
        if left:
            left.pop()
            again(shop.broker, CURRENT())
            raise ValueError

    shop.actor(run, actor_name="poll").send()
    shop.work()
    assert [outcome(span) for span in shop.spans("process poll")] == ["failure", "success"]
    assert shop.total(SENT) == 2


def test_pipeline_with_same_message_twice_has_two_steps(shop: Shop) -> None:
    """The first step is a success, and sends the second."""
    shop.instrument()
    poll = shop.actor(lambda: None, actor_name="poll")
    message = poll.message_with_options(pipe_ignore=True)
    pipeline([message, message], broker=shop.broker).run()
    shop.work()
    first, second = shop.spans("process poll")
    assert [outcome(first), outcome(second)] == ["success", "success"]
    assert [attribute(span, "taskqueue.workflow.step") for span in (first, second)] == [0, 1]
    assert attribute(second, "taskqueue.task.trigger") == "workflow"
    assert shop.total(SENT) == 2


def test_pipeline_step_that_sends_itself_keeps_workflow(shop: Shop) -> None:
    """Id and step are unchanged; the trigger is the call, not the pipeline."""
    shop.broker.add_middleware(CurrentMessage())
    shop.instrument()
    left = [1]
    shop.actor(lambda: None, actor_name="begin")
    shop.actor(
        lambda: left and left.pop() and again(shop.broker, CURRENT()) and None, actor_name="poll"
    )
    steps = [
        Message(QUEUE, name, (), {}, {"pipe_ignore": True}) for name in ("begin", "poll", "begin")
    ]
    pipeline(steps, broker=shop.broker).run()
    shop.work()
    first, second = shop.spans("process poll")
    place = {
        name: attribute(first, f"taskqueue.workflow.{name}") for name in ("kind", "id", "step")
    }
    assert place == {"kind": "pipeline", "id": steps[0].message_id, "step": 1}
    for name, value in place.items():
        assert attribute(second, f"taskqueue.workflow.{name}") == value
    assert attribute(second, "taskqueue.task.trigger") == "call"


def test_scheduled_message_that_sends_itself_has_trigger_call(shop: Shop) -> None:
    """The copy has the scheduler's option too; the drift is measured for the first only."""
    shop.broker.add_middleware(CurrentMessage())
    shop.instrument()
    left = [1]
    poll = shop.actor(
        lambda: left and left.pop() and again(shop.broker, CURRENT()), actor_name="poll"
    )
    poll.send_with_options(scheduled_at="2026-01-01T00:00:00+00:00")
    shop.work()
    first, second = shop.spans("process poll")
    assert attribute(first, "taskqueue.task.trigger") == "schedule"
    assert attribute(second, "taskqueue.task.trigger") == "call"
    assert shop.total("taskqueue.schedule.drift") == 1


def test_copy_sent_in_hook_of_consumer_thread_makes_send_span(shop: Shop) -> None:
    """The message that is held back still takes its second hop."""

    class Mirror(Middleware):
        def before_delay_message(self, broker: Any, message: Any) -> None:
            broker.enqueue(Message("mirror", "poll", (), {}, {}, message_id=message.message_id))

    shop.broker.add_middleware(Mirror())
    shop.instrument()
    shop.broker.declare_queue("mirror")
    shop.actor(lambda: None, actor_name="poll").send_with_options(delay=5)
    shop.work()
    sent, mirrored = shop.spans("send poll")
    assert attribute(mirrored, "messaging.destination.name") == "mirror"
    processed = {
        attribute(span, "messaging.destination.name"): parent_id(span)
        for span in shop.spans("process poll")
    }
    assert processed[QUEUE] == sent.context.span_id
    assert processed.get("mirror", mirrored.context.span_id) == mirrored.context.span_id


@pytest.mark.parametrize("hook", ["before_enqueue", "after_enqueue"])
def test_copy_sent_in_hook_of_send_makes_send_span(shop: Shop, hook: str) -> None:
    """A middleware may mirror messages to another queue, under the same id."""
    mirror = Once(hook, lambda broker, message: broker.enqueue(message.copy(queue_name="mirror")))
    shop.broker.add_middleware(mirror)
    shop.instrument()
    shop.broker.declare_queue("mirror")
    shop.actor(lambda: None, actor_name="poll").send()
    outer, inner = shop.spans("send poll")
    assert parent_id(inner) == outer.context.span_id
    assert attribute(inner, "messaging.destination.name") == "mirror"
    assert attribute(outer, "messaging.destination.name") == QUEUE
    shop.work()
    processed = {
        attribute(span, "messaging.destination.name"): parent_id(span)
        for span in shop.spans("process poll")
    }
    assert processed[QUEUE] == outer.context.span_id
