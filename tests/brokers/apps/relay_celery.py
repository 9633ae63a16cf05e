"""A Celery app whose tasks record with instruments, tracers and loggers of their own.

`CELERY_*` are settings. `PROCESSOR`: each pool process adds a span processor that prints.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery, signals
from opentelemetry import metrics, trace

from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("relay")
app.conf.update(
    celery_settings(
        **{name[7:].lower(): value for name, value in os.environ.items() if name[:7] == "CELERY_"},
    )
)
instrument(app)

meter = metrics.get_meter("shop", "2.0")
tracer = trace.get_tracer("shop")
sold = meter.create_counter("shop.sold", "{item}", "Items that were sold")
stock = meter.create_up_down_counter("shop.stock")
price = meter.create_histogram("shop.price", explicit_bucket_boundaries_advisory=[1, 10, 100])


def say(text: str) -> None:
    """To the log of the worker."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@signals.worker_process_init.connect(weak=False)
def add_processor(**_: Any) -> None:
    """What a user may do in each process."""
    if "PROCESSOR" in os.environ:
        from opentelemetry.sdk.trace import SpanProcessor

        class Printing(SpanProcessor):
            def on_end(self, span: Any) -> None:
                say(f"ended {span.name}")

        trace.get_tracer("shop").start_span("begin").end()  # sets ours up
        provider: Any = trace.get_tracer_provider()
        provider.add_span_processor(Printing())


@app.task(name="sell")
def sell(item: str = "book", size: int = 0) -> None:
    """One of each; the span has so many letters more."""
    with tracer.start_as_current_span("pack", attributes={"label": "x" * size}):
        sold.add(2, {"item": item})
    stock.add(-2)
    price.record(12.5, {"item": item})
    logging.getLogger("shop").warning("sold a %s", item)


@app.task(name="nap")
def nap(seconds: float) -> None:
    """Take so long."""
    time.sleep(seconds)


@app.task(name="wait_for")
def wait_for(path: str) -> None:
    """Say so, and run until there is a file."""
    say("waits")
    while not Path(path).exists():
        time.sleep(0.01)


@app.task(name="count_threads")
def count_threads() -> None:
    """Say how many this process has, as the system counts them."""
    count = len(list(Path("/proc/self/task").iterdir()))
    say(f"{count} threads, {threading.active_count()} of Python")


@app.task(name="use_up")
def use_up(what: str) -> None:
    """Be killed by the kernel: for its processor time, or for its memory in the group `what`."""
    with tracer.start_as_current_span("pack"):
        sold.add(1, {"item": "pen"})
    if what == "time":
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    else:
        Path(what, "cgroup.procs").write_text(str(os.getpid()))
    taken = []
    while True:
        taken.append(bytearray(1 << 20 if what != "time" else 1))
        taken[:-1] = taken[:-1] if what != "time" else []


@app.task(name="count_frozen")
def count_frozen() -> None:
    """Say how many objects no collection of garbage looks at in this process."""
    say(f"{gc.get_freeze_count()} frozen")


@app.task(name="count_many")
def count_many(times: int) -> None:
    """Many additions in one task."""
    for _ in range(times):
        sold.add(1, {"item": "pen"})
