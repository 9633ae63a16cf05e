"""The Celery application of the wire run: `-m` fills the queue, `celery -A` works it off."""

from __future__ import annotations

import os
import sys
import time

from celery import Celery

from tests.benchmarks.measured.exporting import prepare

_on_app = prepare(os.environ["BENCH_PACKAGE"], "celery", in_worker=__name__ != "__main__")
app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.task_ignore_result = True
_done = os.open(os.environ["BENCH_DONE"], os.O_WRONLY | os.O_APPEND)


@app.task(name="one_millisecond")
def one_millisecond() -> None:
    """Wait as a task waits for somebody else's answer."""
    time.sleep(0.001)
    os.write(_done, b".")


_on_app(app)

if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        one_millisecond.apply_async()
