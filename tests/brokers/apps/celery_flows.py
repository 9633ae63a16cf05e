"""Tasks for scenarios about publishing, retries and workflows."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import Celery, chain, chord, group
from opentelemetry import baggage

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import QUEUE, celery_settings

__all__ = ["chain", "chord", "group"]

app = Celery("flows")
app.conf.update(
    celery_settings(
        task_ignore_result=False,
        broker_transport_options={"polling_interval": 0.1},
        beat_schedule={
            "tick": {"task": "tick", "schedule": 1.0, "options": {"queue": QUEUE}},
            "far": {"task": "elsewhere", "schedule": 1.0, "options": {"queue": f"{QUEUE}-far"}},
        },
    )
)
instrument(app)


@app.task(name="add")
def add(x: int = 1, y: int = 1) -> int:
    """Succeeds."""
    return x + y


@app.task(name="total")
def total(numbers: list[int]) -> int:
    """The body of a chord."""
    return sum(numbers)


@app.task(name="tick")
def tick() -> None:
    """What beat sends; sends one more."""
    add.delay()


@app.task(name="who")
def who() -> dict[str, Any]:
    """The baggage that arrived."""
    return dict(baggage.get_all())


@app.task(name="stubborn", bind=True, max_retries=3)
def stubborn(self: Any, times: int, countdown: float = 0) -> dict[str, Any]:
    """Is tried again, `times` times."""
    if self.request.retries < times:
        raise self.retry(exc=ValueError("not yet"), countdown=countdown)
    return dict(baggage.get_all())


@app.task(
    name="dies_once", bind=True, max_retries=2, retry_on_worker_lost=True, default_retry_delay=0
)
def dies_once(self: Any) -> int:
    """Takes its process along, the first time."""
    if self.request.retries == 0:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return int(self.request.retries)


@app.task(name="fail")
def fail(*_: Any) -> None:
    """Fails for good."""
    raise ValueError("boom")


@app.task(name="sleep", time_limit=1)
def sleep() -> None:
    """Is killed."""
    time.sleep(60)


@app.task(name="mourn")
def mourn(request: Any, error: Any, traceback: Any) -> None:
    """An errback that Celery calls."""


@app.task(name="note")
def note(task_id: str) -> None:
    """An errback that Celery sends."""


@app.task(name="swap", bind=True)
def swap(self: Any, x: int) -> Any:
    """Is replaced by another."""
    raise self.replace(add.s(x, 1))


@app.task(name="restock")
def restock() -> str:
    """Fails to send one message, then sends another."""
    try:
        add.delay(object())
    except Exception as error:  # noqa: BLE001 - whichever it is goes back to the test
        add.delay()
        return type(error).__name__
    return "nothing"
