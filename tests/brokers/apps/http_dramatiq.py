"""Actors of a worker that is asked over HTTP."""

# ruff: noqa: D103 - tasks are named after what they do
from __future__ import annotations

import os
import time
from pathlib import Path

import dramatiq
from dramatiq.middleware import Middleware

from otel_queue_plugins.dramatiq import instrument
from tests.brokers.apps.settings import QUEUE, dramatiq_broker

broker = dramatiq_broker()
instrument(broker)


class Blocking(Middleware):
    """Lets a test block a consumer thread for as long as a file exists."""

    def before_delay_message(self, _broker, _message):
        path = os.environ.get("BLOCKED_BY")
        while path and Path(path).exists():
            time.sleep(0.02)


broker.add_middleware(Blocking())


@dramatiq.actor(queue_name=QUEUE)
def ok(n=0):
    return n


@dramatiq.actor(queue_name=QUEUE)
def nap(seconds):
    time.sleep(seconds)


@dramatiq.actor(queue_name=QUEUE)
def burn(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@dramatiq.actor(queue_name=QUEUE, max_retries=0)
def fail():
    raise ValueError("no")


@dramatiq.actor(queue_name=QUEUE, max_retries=2, min_backoff=1, max_backoff=1)
def again():
    raise ValueError("again")
