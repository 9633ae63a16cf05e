"""A Dramatiq app for tests of shutdowns, logs and unreachable backends."""

from __future__ import annotations

import logging
import os
import sys
import time

import dramatiq

from otel_queue_plugins.dramatiq import instrument
from tests.brokers.apps.by_hand import use_own_providers
from tests.brokers.apps.settings import QUEUE, dramatiq_broker

LINE = "%(message)s trace=%(trace_id)s span=%(span_id)s task=%(task_id)s name=%(task_name)s"

if os.environ.get("PROVIDERS") == "user":
    use_own_providers()

broker = dramatiq_broker()
instrument(broker)

if os.environ.get("FORMATS"):
    logging.basicConfig(format=LINE, force=True)


@dramatiq.actor(queue_name=QUEUE, actor_name="ok")
def ok(*_: object) -> None:
    """Return."""
    sys.stdout.write("ok ran\n")
    sys.stdout.flush()


@dramatiq.actor(queue_name=QUEUE, actor_name="tick")
def tick() -> None:
    """Write when it ran."""
    sys.stdout.write(f"tick {time.monotonic()}\n")
    sys.stdout.flush()


@dramatiq.actor(queue_name=QUEUE, actor_name="speak")
def speak() -> None:
    """Log through a logger of the standard library and through the actor's own logger."""
    logging.getLogger("shop").warning("plain words")
    speak.logger.warning("task words")
