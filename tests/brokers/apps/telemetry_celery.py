"""A Celery app whose workers end, fork, log and lose their backend.

`PROVIDERS=user`: SDK providers are set at import, before any fork; `PROVIDERS=green`: after gRPC
was told about gevent. `FORMATS`: log lines show what log correlation adds. `CELERY_*` are settings.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from importlib import import_module

from celery import Celery
from celery.utils.log import get_task_logger

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.by_hand import use_own_providers
from tests.brokers.apps.settings import celery_settings

LINE = "%(message)s trace=%(trace_id)s span=%(span_id)s task=%(task_id)s name=%(task_name)s"
FORMATS = {"worker_log_format": LINE, "worker_task_log_format": LINE}

if os.environ.get("PROVIDERS") == "green":
    import_module("grpc.experimental.gevent").init_gevent()
if os.environ.get("PROVIDERS") in {"user", "green"}:
    use_own_providers()

app = Celery("telemetry")
app.conf.update(
    celery_settings(
        **(FORMATS if os.environ.get("FORMATS") else {}),
        **{name[7:].lower(): value for name, value in os.environ.items() if name[:7] == "CELERY_"},
    )
)
instrument(app)


@app.task(name="ok")
def ok(*_: object) -> None:
    """Return."""


@app.task(name="tick")
def tick() -> None:
    """Say when it ran."""
    sys.stdout.write(f"tick {time.monotonic()}\n")
    sys.stdout.flush()


@app.task(name="say_pid")
def say_pid() -> None:
    """Say which process runs it."""
    sys.stdout.write(f"ran in {os.getpid()}\n")
    sys.stdout.flush()


@app.task(name="watch")
def watch(seconds: float) -> None:
    """Say by how much the longest of many short sleeps was too long."""
    gaps: list[float] = []
    while sum(gaps) + 0.01 * len(gaps) < seconds:
        began = time.perf_counter()
        time.sleep(0.01)
        gaps.append(time.perf_counter() - began - 0.01)
    sys.stdout.write(f"longest gap {1000 * max(gaps):.0f} ms\n")
    sys.stdout.flush()


@app.task(name="hold")
def hold(seconds: float) -> None:
    """Take so long."""
    sys.stdout.write("hold runs\n")
    sys.stdout.flush()
    time.sleep(seconds)


@app.task(name="hard", time_limit=0.5)
def hard() -> None:
    """Run into the hard limit."""
    time.sleep(30)


@app.task(name="speak")
def speak() -> None:
    """Log through the standard library's and through Celery's task logger."""
    logging.getLogger("shop").warning("plain words")
    get_task_logger("shop.tasks").warning("task words")
