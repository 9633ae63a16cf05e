"""Exactly one outcome for each delivery, and the correct one."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message, Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import (
    AgeLimit,
    Interrupt,
    Middleware,
    Retries,
    Shutdown,
    ShutdownNotifications,
    SkipMessage,
    TimeLimit,
    raise_thread_exception,
)
from opentelemetry.trace import StatusCode

from tests.dramatiq.conftest import attribute, event_names, outcome

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop

EVERYWHERE = pytest.mark.parametrize("position", ["first", "last"])


def set_up(shop: Shop, position: str) -> None:
    """Add our middleware, first or last."""
    if position == "first":
        shop.instrument()
    else:
        shop.append()


def boom() -> None:
    """Raise an error."""
    raise ValueError("boom")


@EVERYWHERE
def test_actor_that_returns_is_success(shop: Shop, position: str) -> None:
    """The span of a success has no status, event or reason."""
    set_up(shop, position)
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "success"
    assert process.status.is_unset
    assert event_names(process) == []
    assert shop.total("messaging.process.duration", taskqueue__task__outcome="success") == 1


@EVERYWHERE
def test_exhausted_retries_are_dead_letter(shop: Shop, position: str) -> None:
    """The last span has the error, the dead-letter queue and the reason."""
    set_up(shop, position)
    shop.actor(boom, actor_name="add", max_retries=1, min_backoff=5).send()
    shop.work()
    first, last = shop.spans("process add")
    assert (outcome(first), outcome(last)) == ("retry", "dead_letter")
    assert last.status.status_code is StatusCode.ERROR
    assert attribute(last, "taskqueue.dead_letter.queue") == "default.XQ"
    assert attribute(last, "taskqueue.dead_letter.reason") == "retries_exhausted"
    assert attribute(last, "error.type") == "ValueError"
    assert event_names(last) == ["taskqueue.dead_letter", "exception"]
    exhausted = {"taskqueue.dead_letter.reason": "retries_exhausted"}
    assert shop.total("taskqueue.task.dead_letters", **exhausted) == 1


@EVERYWHERE
def test_error_declared_with_throws_is_expected_dead_letter(shop: Shop, position: str) -> None:
    """`throws` fails the message at once, and its span has no error status."""
    set_up(shop, position)
    shop.actor(boom, actor_name="add", throws=ValueError).send()
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "dead_letter"
    assert attribute(process, "taskqueue.dead_letter.reason") == "throws"
    assert process.status.is_unset


def test_retry_when_returning_false_is_dead_letter(shop: Shop) -> None:
    """The reason names the predicate, not a number of retries."""
    shop.instrument()
    shop.actor(boom, actor_name="add", retry_when=lambda retries, error: False).send()
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "dead_letter"
    assert attribute(process, "taskqueue.dead_letter.reason") == "retry_when"
    assert attribute(process, "taskqueue.task.max_attempts") is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Retry("again"), "retries_exhausted"), (RateLimitExceeded("slow"), "rate_limit")],
)
def test_retry_exception_after_last_attempt_is_dead_letter(
    shop: Shop, error: Exception, reason: str
) -> None:
    """Asking for one more attempt does not make the delivery a retry."""
    shop.instrument()

    def ask() -> None:
        raise error

    shop.actor(ask, actor_name="add", max_retries=0).send()
    shop.work()
    assert attribute(shop.span("process add"), "taskqueue.dead_letter.reason") == reason


def test_on_retry_exhausted_is_sent_as_callback_in_same_trace(shop: Shop) -> None:
    """Its send span is a child of the span of the dead letter."""
    if "on_retry_exhausted" not in Retries().actor_options:
        pytest.skip("this version of Dramatiq has no such option")
    shop.instrument()
    shop.actor(lambda message, info: None, actor_name="alarm")
    shop.actor(boom, actor_name="add", max_retries=0, on_retry_exhausted="alarm").send()
    shop.work()
    dead, send, alarm = (shop.span(n) for n in ("process add", "send alarm", "process alarm"))
    assert send.parent is not None
    assert send.parent.span_id == dead.context.span_id
    assert attribute(alarm, "taskqueue.task.trigger") == "callback"


@EVERYWHERE
def test_error_without_retries_middleware_is_failure(shop: Shop, position: str) -> None:
    """Dramatiq acks the message, and no one retries it."""
    shop.broker.middleware = [m for m in shop.broker.middleware if not isinstance(m, Retries)]
    set_up(shop, position)
    shop.actor(boom, actor_name="add").send()
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "failure"
    assert process.status.status_code is StatusCode.ERROR
    assert attribute(process, "taskqueue.dead_letter.queue") is None


@EVERYWHERE
def test_message_beyond_age_limit_is_skipped_with_dead_letter_queue(
    shop: Shop, position: str
) -> None:
    """`AgeLimit` skips it, and Dramatiq moves it to the dead-letter queue."""
    set_up(shop, position)
    add = shop.actor(lambda: None, actor_name="add", max_age=1)
    add.send()
    time.sleep(0.01)
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "skipped"
    assert attribute(process, "taskqueue.skip.reason") == "age_limit"
    assert attribute(process, "taskqueue.dead_letter.queue") == "default.XQ"
    remaining = attribute(process, "taskqueue.task.deadline_remaining")
    assert isinstance(remaining, float)
    assert remaining < 0
    assert process.status.is_unset
    assert event_names(process) == ["taskqueue.skipped", "taskqueue.dead_letter"]
    assert shop.total("taskqueue.task.cancellations", taskqueue__cancellation__scope="expired") == 1
    assert shop.total("taskqueue.task.dead_letters") == 1


class Moody(Middleware):
    def __init__(self, *, fail: bool) -> None:
        self.fail = fail

    def before_process_message(self, broker: Any, message: Any) -> None:
        if self.fail:
            message.fail()
        raise SkipMessage(f"not {message.message_id}")


@EVERYWHERE
@pytest.mark.parametrize("fail", [True, False])
def test_message_skipped_by_middleware_has_its_class_as_reason(
    shop: Shop, position: str, fail: bool
) -> None:
    """The text of the exception may differ for each message, the class does not."""
    shop.broker.add_middleware(Moody(fail=fail))
    set_up(shop, position)
    ran: list[int] = []
    shop.actor(lambda: ran.append(1), actor_name="add").send()
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "skipped"
    assert attribute(process, "taskqueue.skip.reason") == "Moody"
    assert (attribute(process, "taskqueue.dead_letter.queue") is not None) is fail
    assert not ran


def test_message_failed_by_middleware_is_dead_letter_without_error(shop: Shop) -> None:
    """After `message.fail()` in a before-hook the actor does not run, and there is no error."""

    class Failing(Middleware):
        def before_process_message(self, broker: Any, message: Any) -> None:
            message.fail()

    shop.instrument()
    shop.broker.add_middleware(Failing())
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "dead_letter"
    assert attribute(process, "taskqueue.dead_letter.reason") == "failed_by_middleware"


class Abort(Interrupt):
    __module__ = "dramatiq_abort.middleware"


class Abortable(Middleware):
    """Acts as dramatiq-abort: skips what has not begun, interrupts what has."""

    def __init__(self, *, early: bool) -> None:
        self.early = early

    def before_process_message(self, broker: Any, message: Any) -> None:
        if self.early:
            raise SkipMessage("aborted")


def test_abort_before_start_is_skipped_with_cancellation_aborted(shop: Shop) -> None:
    """Dramatiq acks the message, but it is no success."""
    shop.instrument()
    shop.broker.add_middleware(Abortable(early=True))
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    process = shop.span("process add")
    assert (outcome(process), attribute(process, "taskqueue.skip.reason")) == ("skipped", "aborted")
    assert shop.total("taskqueue.task.cancellations", taskqueue__cancellation__scope="aborted") == 1


@pytest.mark.parametrize(("retries", "expected"), [(0, "revoked"), (1, "retry")])
def test_abort_of_running_message_is_revoked_or_retry(
    shop: Shop, retries: int, expected: str
) -> None:
    """Without further attempts it is revoked; `Retries` may retry it like any error."""
    shop.instrument()
    aborted: list[int] = []

    def run() -> None:
        if not aborted:
            aborted.append(1)
            raise Abort

    shop.actor(run, actor_name="add", max_retries=retries, min_backoff=5).send()
    shop.work()
    process = shop.spans("process add")[0]
    assert outcome(process) == expected
    assert process.status.is_unset


def _wait_for_an_interrupt() -> None:
    for _ in range(500):
        time.sleep(0.01)


@pytest.mark.parametrize(("retries", "expected"), [(0, "timeout"), (1, "retry")])
def test_time_limit_is_timeout_or_retry(shop: Shop, retries: int, expected: str) -> None:
    """Without further attempts it is a timeout in the dead-letter queue."""
    shop.broker = StubBroker(middleware=[TimeLimit(interval=10), Retries()])
    shop.instrument()
    shop.broker.emit_after("process_boot")
    ran: list[int] = []

    def run() -> None:
        ran.append(1)
        if len(ran) == 1:
            _wait_for_an_interrupt()

    shop.actor(run, actor_name="add", max_retries=retries, min_backoff=5, time_limit=30).send()
    shop.work()
    process = shop.spans("process add")[0]
    assert outcome(process) == expected
    if expected == "timeout":
        assert attribute(process, "error.type") == (
            "dramatiq.middleware.time_limit.TimeLimitExceeded"
        )
        assert attribute(process, "taskqueue.dead_letter.reason") == "time_limit"
        assert attribute(process, "taskqueue.retry.reason") is None
        assert process.status.status_code is StatusCode.ERROR
    else:
        assert attribute(process, "taskqueue.retry.reason") == "time_limit"


def test_shutdown_that_interrupts_actor_is_retry(shop: Shop) -> None:
    """The message is enqueued again for the next worker."""
    shop.broker = StubBroker(middleware=[ShutdownNotifications(notify_shutdown=True), Retries()])
    shop.instrument()
    began = threading.Event()

    def run() -> None:
        began.set()
        _wait_for_an_interrupt()

    shop.actor(run, actor_name="add", min_backoff=60_000).send()
    worker = Worker(shop.broker, worker_timeout=10, worker_threads=1)
    worker.start()
    assert began.wait(60)
    worker.stop()
    process = shop.span("process add")
    assert outcome(process) == "retry"
    assert attribute(process, "taskqueue.retry.reason") == "shutdown"


@EVERYWHERE
def test_message_for_unknown_actor_is_error_in_trace_of_sender(shop: Shop, position: str) -> None:
    """The consumer thread nacks it, and calls no hook of processing."""
    set_up(shop, position)
    shop.broker.declare_queue("default")
    message = Message(queue_name="default", actor_name="gone", args=(), kwargs={}, options={})
    with shop.caller() as caller:
        shop.broker.enqueue(message, delay=10)
    shop.work()
    process = shop.span("process gone")
    assert outcome(process) == "unknown_task"
    assert process.status.status_code is StatusCode.ERROR
    assert process.context.trace_id == caller.get_span_context().trace_id
    assert attribute(process, "error.type") == "dramatiq.errors.ActorNotFound"
    assert attribute(process, "taskqueue.dead_letter.queue") == "default.XQ"
    assert shop.total("messaging.client.consumed.messages") == 1


@EVERYWHERE
def test_retry_that_cannot_be_enqueued_is_lost(shop: Shop, position: str) -> None:
    """Dramatiq acks the message and only logs it: the span shows the loss."""

    class Unplugging(StubBroker):
        def enqueue(self, message: Any, *, delay: Any = None) -> Any:
            if delay:
                raise ConnectionResetError("away")
            return super().enqueue(message, delay=delay)

    shop.broker = Unplugging()
    set_up(shop, position)
    shop.actor(boom, actor_name="add").send()
    shop.work()
    process = shop.span("process add")
    assert outcome(process) == "lost"
    assert process.status.status_code is StatusCode.ERROR
    assert attribute(process, "error.type") == "ValueError"
    assert event_names(process) == ["taskqueue.lost", "exception"]
    reason = "the retry was not enqueued: ConnectionResetError"
    assert process.events[0].attributes == {"taskqueue.lost.reason": reason}
    assert attribute(process, "taskqueue.lost.reason") == reason


class Interrupting(Middleware):
    """Interrupts its own thread in an after-hook, as a late time limit does."""

    def __init__(self, times: int) -> None:
        self.left = times

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        if self.left:
            self.left -= 1
            raise_thread_exception(threading.get_ident(), Shutdown)
            for _ in range(100):
                time.sleep(0.01)


@EVERYWHERE
def test_interrupt_in_after_hook_turns_success_into_retry(shop: Shop, position: str) -> None:
    """Dramatiq then calls the after-hooks again, and the second call decides."""
    shop.broker = StubBroker(middleware=[Interrupting(1), Retries()])
    set_up(shop, position)
    shop.actor(lambda: None, actor_name="add", min_backoff=5).send()
    shop.work()
    assert [outcome(span) for span in shop.spans("process add")] == ["retry", "success"]


@EVERYWHERE
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_second_interrupt_that_ends_worker_thread_ends_process_span(
    shop: Shop, position: str
) -> None:
    """The ending thread acks the message."""
    shop.broker = StubBroker(middleware=[Interrupting(2), Retries()])
    set_up(shop, position)
    shop.actor(lambda: None, actor_name="add", min_backoff=60_000).send()
    worker = Worker(shop.broker, worker_timeout=10, worker_threads=1)
    worker.start()
    deadline = time.monotonic() + 60
    while any(thread.is_alive() for thread in worker.workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    (process,) = shop.spans("process add")
    assert outcome(process) == "retry"


def test_delivery_leaves_no_context_on_its_thread(shop: Shop) -> None:
    """Deliveries of one thread are independent, whatever their outcome."""
    from opentelemetry import context

    shop.instrument()
    left: list[Any] = []

    class Outermost(Middleware):
        def after_ack(self, broker: Any, message: Any) -> None:
            left.append(dict(context.get_current()))

        after_nack = before_worker_thread_shutdown = after_ack
        before_consumer_thread_shutdown = after_ack

    shop.broker.middleware.insert(0, Outermost())
    add = shop.actor(lambda: None, actor_name="add")
    for _ in range(2):
        add.send()
    shop.actor(boom, actor_name="bad", max_retries=0).send()
    shop.broker.enqueue(Message("default", "gone", (), {}, {}))
    shop.work()
    assert left == [{}] * 7
    assert len(shop.spans("process add")) == 2


def test_age_limit_of_broker_sets_deadline(shop: Shop) -> None:
    """The deadline also comes from the middleware, if the actor sets none."""
    shop.broker = StubBroker(middleware=[AgeLimit(max_age=60_000), Retries()])
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    remaining = attribute(shop.span("process add"), "taskqueue.task.deadline_remaining")
    assert isinstance(remaining, float)
    assert 0 < remaining <= 60
