"""The Celery application of the end-to-end run: `-m` fills the queue, `celery -A` works it off."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from tests.benchmarks.measured.packages import prepare

_package = prepare(os.environ["BENCH_PACKAGE"], "celery", os.environ["BENCH_MODE"])
app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.task_ignore_result = True
_done = os.open(os.environ["BENCH_DONE"], os.O_WRONLY | os.O_APPEND)


@app.task(name="one_millisecond")
def one_millisecond() -> None:
    """Wait as a task waits for somebody else's answer."""
    time.sleep(0.001)
    os.write(_done, b".")


@worker_process_init.connect(weak=False)
def _in_child(**kwargs: Any) -> None:
    del kwargs
    _package.on_worker(app)


_package.on_app(app)

if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        one_millisecond.apply_async()
    _package.telemetry.flush()
