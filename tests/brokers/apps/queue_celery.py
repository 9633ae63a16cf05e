"""An app whose tasks wait until a file is there, and can be rejected into a dead-letter queue."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import BROKER_URL, QUEUE, celery_settings

GATE = Path(os.environ.get("GATE", "/nowhere"))
OPTIONS = json.loads(os.environ.get("TRANSPORT_OPTIONS", "{}"))
DEAD = f"{QUEUE}.dead"
LETTERS = Exchange(f"{QUEUE}.letters", type="direct")
TO_LETTERS = {"x-dead-letter-exchange": LETTERS.name, "x-dead-letter-routing-key": DEAD}

app = Celery("shop")
app.conf.update(celery_settings(broker_transport_options=OPTIONS, task_acks_late=True))
if BROKER_URL.startswith("amqp"):
    app.conf.task_queues = [
        *(
            Queue(name, Exchange(name), routing_key=name, queue_arguments=TO_LETTERS)
            for name in (QUEUE, f"{QUEUE}-other")
        ),
        Queue(DEAD, LETTERS, routing_key=DEAD),
    ]
instrument(app)


@app.task(name="add")
def add(x: int, y: int) -> int:
    """Add."""
    return x + y


@app.task(name="wait")
def wait(_number: int = 0) -> None:
    """Run until the gate is open."""
    while not GATE.exists():
        time.sleep(0.02)


@app.task(name="refuse", max_retries=3)
def refuse() -> None:
    """Become a dead letter, until the gate is open."""
    if not GATE.exists():
        raise Reject("no", requeue=False)


def declare() -> None:
    """Make the queues, as a worker does that consumes both."""
    with app.connection_for_write() as connection:
        for queue in app.amqp.queues.values():
            queue(connection.default_channel).declare()
