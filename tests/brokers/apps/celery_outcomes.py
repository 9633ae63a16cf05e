"""An app whose tasks end in every way that a task can end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from typing import Any

from celery import Celery, Task, current_task
from celery.backends.redis import RedisBackend
from celery.exceptions import Ignore, Reject
from kombu import Exchange, Queue
from kombu.utils.uuid import uuid
from opentelemetry import baggage, propagate, trace

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import QUEUE, celery_settings

DEAD = Queue(f"{QUEUE}-dead", routing_key=f"{QUEUE}-dead")
NOBODY = "redis://127.0.0.1:1/0"
TEMPORARY = (ValueError,)

app = Celery("outcomes")
app.conf.update(
    celery_settings(
        task_queues=[
            Queue(
                QUEUE,
                Exchange(QUEUE, durable=True),
                routing_key=QUEUE,
                queue_arguments={
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": DEAD.name,
                },
            )
        ],
        task_default_exchange=QUEUE,
        task_default_routing_key=QUEUE,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_transport_options={"visibility_timeout": 3600},
        **{name[7:].lower(): value for name, value in os.environ.items() if name[:7] == "CELERY_"},
    )
)
instrument(app, metrics=["taskqueue.task.prefetch_wait"])
tracer = trace.get_tracer("app")


class CannotSayError(Exception):
    """Breaks whoever wants to print it."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def raw(body: bytes | str, *, content_type: str = "application/json", **headers: Any) -> None:
    """Publish what no Celery would, under the current context."""
    headers.setdefault("id", uuid())
    propagate.inject(headers)
    known = {name: value for name, value in headers.items() if value is not None}
    with app.producer_or_acquire() as producer:
        producer.publish(
            body,
            routing_key=QUEUE,
            exchange=app.conf.task_queues[0].exchange,
            declare=[app.conf.task_queues[0]],
            headers=known,
            content_type=content_type,
            content_encoding="utf-8",
        )


def dead_letters() -> list[str]:
    """The ids of the messages in the dead-letter queue."""
    with app.connection_or_acquire() as connection:
        queue = DEAD.bind(connection.default_channel)
        queue.declare()
        found = iter(queue.get, None)
        return [message.headers["id"] for message in found if message.ack() or True]


@app.task(name="ok")
def ok(value: Any = 1) -> Any:
    """Succeed."""
    return value


@app.task(name="stored", ignore_result=False)
def stored(value: Any = 1) -> Any:
    """Succeed, and keep the result."""
    return value


@app.task(name="look")
def look() -> None:
    """Say what of the context is seen."""
    span = trace.get_current_span()
    span.set_attribute("seen.baggage", sorted(baggage.get_all()))
    with tracer.start_as_current_span("looked"):
        pass


@app.task(name="fail")
def fail(text: str = "broken") -> None:
    """Fail."""
    raise ValueError(text)


@app.task(name="expected", throws=KeyError)
def expected() -> None:
    """Fail as foreseen."""
    raise KeyError("foreseen")


@app.task(name="unprintable")
def unprintable() -> None:
    """Fail with an exception that cannot be printed."""
    raise CannotSayError


@app.task(name="starved")
def starved() -> None:
    """Fail for want of memory."""
    raise MemoryError("no more")


@app.task(name="again", bind=True, max_retries=2)
def again(self: Task, failures: int = 1, countdown: float = 0) -> None:
    """Fail some times and ask for another try each time."""
    if self.request.retries < failures:
        error = ValueError(f"attempt {self.request.retries}")
        raise self.retry(exc=error, countdown=countdown)


@app.task(name="again_in_vain", bind=True)
def again_in_vain(self: Task) -> None:
    """Ask for another try that cannot be sent."""
    raise self.retry(args=[object()], countdown=0)


@app.task(name="again_without_reason", bind=True, max_retries=1, default_retry_delay=0)
def again_without_reason(self: Task) -> None:
    """Ask for another try until there is none left."""
    raise self.retry()


@app.task(
    name="automatic",
    autoretry_for=TEMPORARY,
    max_retries=1,
    retry_jitter=False,
    retry_backoff=False,
    default_retry_delay=0,
)
def automatic() -> None:
    """Fail, and be tried again without asking."""
    raise ValueError("again")


@app.task(name="ignore")
def ignore() -> None:
    """Want nobody to know."""
    raise Ignore


@app.task(name="replaced", bind=True)
def replaced(self: Task) -> None:
    """Let another task do it."""
    self.replace(ok.s())


@app.task(name="reject", acks_late=True)
def reject(reason: str = "unwanted") -> None:
    """Refuse the message."""
    raise Reject(reason, requeue=False)


@app.task(name="requeue", bind=True, acks_late=True)
def requeue(self: Task) -> None:
    """Refuse the message the first time."""
    if not self.request.delivery_info["redelivered"]:
        raise Reject("not now", requeue=True)


@app.task(name="soft", soft_time_limit=0.2)
def soft() -> None:
    """Take longer than is wanted."""
    _work(20)


@app.task(name="hold")
def hold(seconds: float) -> None:
    """Take some time."""
    _work(seconds)


@app.task(name="hold_late", acks_late=True)
def hold_late(seconds: float) -> None:
    """Take some time, and acknowledge afterwards."""
    _work(seconds)


@app.task(name="hold_once", bind=True, acks_late=True)
def hold_once(self: Task, seconds: float) -> None:
    """Take some time, unless delivered again."""
    if not self.request.delivery_info["redelivered"]:
        _work(seconds)


@app.task(name="hard", time_limit=0.4)
def hard(seconds: float = 20) -> None:
    """Take longer than is allowed."""
    _work(seconds)


@app.task(name="stubborn", time_limit=0.4)
def stubborn(then: str = "return") -> None:
    """Take longer than is allowed, and not take a no."""
    try:
        _work(20)
    except SystemExit:
        if then == "raise":
            raise ValueError("in spite of all") from None
        if then == "go on":
            time.sleep(20)


@app.task(name="deaf", time_limit=0.4)
def deaf() -> None:
    """Take longer than is allowed, and not even hear the no."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    _work(20)


@app.task(name="persistent")
def persistent(seconds: float) -> None:
    """Finish although terminated."""
    try:
        _work(20)
    except SystemExit:
        time.sleep(seconds)


@app.task(name="leave")
def leave(code: int = 3) -> None:
    """End the process."""
    with tracer.start_as_current_span("work"):
        _say("leaving")
        sys.exit(code)


@app.task(name="shot")
def shot() -> None:
    """Die like one that the kernel kills."""
    _die()


class DiesInTheEnd(Task):  # type: ignore[misc]
    """Dies when its result is stored."""

    def on_success(self, *_: Any) -> None:
        """Be gone."""
        _die()


@app.task(name="shot_after", base=DiesInTheEnd, ignore_result=False)
def shot_after() -> str:
    """Die after the result is stored."""
    return "stored"


@app.task(name="shot_once", bind=True, acks_late=True, reject_on_worker_lost=True)
def shot_once(self: Task) -> None:
    """Die, unless delivered again."""
    if not self.request.delivery_info["redelivered"]:
        _die()


@app.task(
    name="shot_and_retried",
    bind=True,
    max_retries=1,
    default_retry_delay=0,
    retry_on_worker_lost=True,
)
def shot_and_retried(self: Task) -> None:
    """Die, unless tried again."""
    if not self.request.retries:
        _die()


@app.task(name="unserialisable", ignore_result=False)
def unserialisable() -> object:
    """Return what cannot be stored."""
    return object()


@app.task(name="unstorable", ignore_result=False)
def unstorable() -> int:
    """Return what nobody is there to store."""
    return 1


_away = RedisBackend(app=app, url=NOBODY)
_away.retry_policy = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
unstorable.backend = _away


def _work(seconds: float) -> None:
    """Be seen at work, from a span within the delivery's, then go on until `seconds` are over."""
    with tracer.start_as_current_span("work"):
        pass
    _say("at work")
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(0.02)


def _say(what: str) -> None:
    """Tell a scenario, in a line that nobody else breaks."""
    logging.getLogger("app").warning("%s %s", what, current_task.request.id)


def _die() -> None:
    """Be seen at work, then be gone."""
    with tracer.start_as_current_span("work"):
        pass
    trace.get_tracer_provider().force_flush()
    os.kill(os.getpid(), signal.SIGKILL)
