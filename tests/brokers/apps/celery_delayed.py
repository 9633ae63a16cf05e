"""An app whose delayed messages RabbitMQ keeps (native delayed delivery of quorum queues)."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import QUEUE, celery_settings

KEY = f"0.1.{QUEUE}"  # begins as a delay does
DEAD = Queue(f"{QUEUE}-dead", Exchange(f"{QUEUE}-dlx"), routing_key=KEY, durable=True)

app = Celery("delayed")
app.conf.update(
    celery_settings(
        task_queues=[
            Queue(
                QUEUE,
                Exchange(f"{QUEUE}-topic", type="topic"),
                routing_key=KEY,
                queue_arguments={
                    "x-queue-type": "quorum",
                    "x-dead-letter-exchange": DEAD.exchange.name,
                },
            ),
            DEAD,
        ],
        task_default_exchange=f"{QUEUE}-topic",
        task_default_exchange_type="topic",
        task_default_routing_key=KEY,
        task_default_queue_type="quorum",
        worker_detect_quorum_queues=True,
    )
)
instrument(app)


def dead_letters() -> list[str]:
    """The ids of the messages in the dead-letter queue."""
    with app.connection_or_acquire() as connection:
        queue = DEAD.bind(connection.default_channel)
        queue.declare()
        found = iter(queue.get, None)
        return [message.headers["id"] for message in found if message.ack() or True]


@app.task(name="work")
def work() -> None:
    """Succeeds."""


@app.task(name="patient", bind=True, max_retries=3)
def patient(self: Any, times: int, countdown: float) -> None:
    """Is tried again, `times` times."""
    if self.request.retries < times:
        raise self.retry(countdown=countdown)


@app.task(name="sleep", time_limit=1)
def sleep() -> None:
    """Is killed."""
    time.sleep(60)


@app.task(name="reject", acks_late=True)
def reject() -> None:
    """Is not to be tried again."""
    raise Reject("broken", requeue=False)


@app.task(name="reject_too_late")
def reject_too_late(requeue: bool) -> None:
    """Would reject a message that is acknowledged already."""
    raise Reject("broken", requeue=requeue)
