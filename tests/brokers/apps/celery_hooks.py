"""An app whose hooks and signal handlers say where they are, and send something."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

from celery import Celery, Task, current_task, signals
from celery.exceptions import Reject
from celery.worker.request import Request
from kombu.utils.uuid import uuid
from opentelemetry import context, propagate, trace

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import QUEUE, celery_settings

app = Celery("hooks")
app.conf.update(
    celery_settings(
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_lost_wait=0.5,
        broker_transport_options={"visibility_timeout": 3600},
    )
)
instrument(app)
tracer = trace.get_tracer("app")
SUPPRESS = "suppress_instrumentation"


def note(where: str) -> None:
    """Say where this is, as a tracer of a client would, and send a message."""
    suppressed = any(
        key.startswith(SUPPRESS) and value for key, value in context.get_current().items()
    )
    trace.get_current_span().set_attribute(f"seen.{where}", True)
    with tracer.start_as_current_span(f"hook {where}") as span:
        span.set_attributes({"suppressed": suppressed, "pid": os.getpid()})
        app.send_task("ok", queue=f"{QUEUE}-others")


def handler(name: str) -> Any:
    """A receiver of the signal of that name."""

    def receive(**_: Any) -> None:
        note(name)

    return receive


for name in (
    *("task_failure", "task_revoked", "task_retry", "task_rejected", "task_unknown"),
    *("task_received", "worker_ready", "worker_shutting_down", "worker_shutdown"),
):
    getattr(signals, name).connect(handler(name), weak=False)


class Hooked(Task):  # type: ignore[misc]
    """A task with every hook that Celery may call where the task did not run."""

    def on_failure(self, *_: Any) -> None:
        """It failed."""
        note("on_failure")

    def on_retry(self, *_: Any) -> None:
        """It will be tried again."""
        note("on_retry")

    def after_return(self, *_: Any) -> None:
        """It is over."""
        note("after_return")


class HookedRequest(Request):  # type: ignore[misc]
    """What Celery's documentation suggests for who wants to know of time limits."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Its time is up."""
        super().on_timeout(soft, timeout)
        note("soft request" if soft else "hard request")

    def on_failure(self, *args: Any, **kwargs: Any) -> None:
        """It failed."""
        super().on_failure(*args, **kwargs)
        note("failed request")


class Custom(Task):  # type: ignore[misc]
    """A task with such a request."""

    Request = HookedRequest


def raw(body: str, **headers: Any) -> None:
    """Publish what no Celery would, under the current context."""
    propagate.inject(headers)
    with app.producer_or_acquire() as producer:
        producer.publish(
            body,
            routing_key=QUEUE,
            headers={"id": uuid(), **headers},
            content_type="application/json",
            content_encoding="utf-8",
        )


@app.task(name="hold", base=Hooked)
def hold(seconds: float = 20) -> None:
    """Take some time."""
    work(seconds)


@app.task(name="hold_late", base=Hooked, acks_late=True)
def hold_late(seconds: float = 20) -> None:
    """Take some time, and acknowledge afterwards."""
    work(seconds)


@app.task(name="hard", base=Hooked, time_limit=0.4)
def hard() -> None:
    """Take longer than is allowed."""
    work(20)


@app.task(name="shot", base=Hooked)
def shot() -> None:
    """Die like one that the kernel kills."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(
    name="shot_and_retried",
    base=Hooked,
    bind=True,
    max_retries=1,
    default_retry_delay=0,
    retry_on_worker_lost=True,
)
def shot_and_retried(self: Task) -> None:
    """Die, unless tried again."""
    if not self.request.retries:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="reject", base=Hooked, acks_late=True)
def reject() -> None:
    """Refuse the message."""
    raise Reject("unwanted", requeue=False)


@app.task(name="custom_hard", base=Custom, time_limit=0.4)
def custom_hard() -> None:
    """Take longer than is allowed."""
    work(20)


@app.task(name="custom_soft", base=Custom, soft_time_limit=0.4)
def custom_soft() -> None:
    """Take longer than is wanted."""
    work(20)


@app.task(name="custom_failure", base=Custom)
def custom_failure() -> None:
    """Fail."""
    raise ValueError("broken")


def work(seconds: float) -> None:
    """Be seen at work, then go on until `seconds` are over."""
    with tracer.start_as_current_span("work"):
        pass
    logging.getLogger("app").warning("at work %s", current_task.request.id)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(0.02)
