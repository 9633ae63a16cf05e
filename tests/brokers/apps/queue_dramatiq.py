"""An app whose actors wait until a file is there, and fail until it is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dramatiq

from otel_queue_plugins.dramatiq import instrument
from tests.brokers.apps.settings import BROKER_URL, QUEUE, dramatiq_broker

GATE = Path(os.environ.get("GATE", "/nowhere"))
OPTIONS = {}
if BROKER_URL.startswith("redis"):
    OPTIONS = {"namespace": os.environ.get("NAMESPACE", "dramatiq"), "maintenance_chance": 0}
    if "HEARTBEAT" in os.environ:
        OPTIONS["heartbeat_timeout"] = int(os.environ["HEARTBEAT"])

broker = dramatiq_broker(**OPTIONS)
instrument(broker)


@dramatiq.actor(queue_name=QUEUE)
def add(x: int, y: int) -> int:
    """Add."""
    return x + y


@dramatiq.actor(queue_name=QUEUE)
def wait(_number: int = 0) -> None:
    """Run until the gate is open."""
    while not GATE.exists():
        time.sleep(0.02)


@dramatiq.actor(queue_name=QUEUE, max_retries=2, min_backoff=1, max_backoff=1)
def fail() -> None:
    """Fail until the gate is open."""
    if not GATE.exists():
        raise ValueError("the gate is shut")
