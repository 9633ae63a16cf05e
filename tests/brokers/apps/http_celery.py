"""Tasks of a worker that is asked over HTTP."""

# ruff: noqa: D103 - tasks are named after what they do
from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from celery import Celery, signals

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("shop")
app.conf.update(celery_settings())
instrument(app)


@app.task(name="ok")
def ok(n=0):
    return n


@app.task(name="nap")
def nap(seconds):
    time.sleep(seconds)


@app.task(name="burn")
def burn(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@app.task(name="burn_while")
def burn_while(path):
    """Burn until a file is gone, or a minute is over. To look for it is to yield for a moment."""
    until = time.monotonic() + 60
    while Path(path).exists() and time.monotonic() < until:
        burn(0.5)


@app.task(name="fail")
def fail():
    raise ValueError("no")


@app.task(name="again", bind=True, max_retries=3, default_retry_delay=0)
def again(self):
    if self.request.retries < 2:
        raise self.retry()


@app.task(name="die")
def die():
    os._exit(9)


@signals.worker_ready.connect
def ready(sender, **_):
    """Let a test block the main thread, which runs the loop, for as long as a file exists."""
    path = os.environ.get("BLOCKED_BY")
    if path is None:
        return

    def block() -> None:
        while Path(path).exists():
            time.sleep(0.02)

    def look() -> None:
        while not Path(path).exists():
            time.sleep(0.02)
        sender.call_soon(block)

    threading.Thread(target=look, daemon=True).start()
