"""The Dramatiq application of the wire run: `-m` fills the queue, `dramatiq` works it off."""

from __future__ import annotations

import os
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.benchmarks.measured.exporting import prepare

_on_app = prepare(os.environ["BENCH_PACKAGE"], "dramatiq", in_worker=__name__ != "__main__")
broker = RedisBroker(url=os.environ["BENCH_REDIS"])
dramatiq.set_broker(broker)
_on_app(broker)
_done = os.open(os.environ["BENCH_DONE"], os.O_WRONLY | os.O_APPEND)


@dramatiq.actor(actor_name="one_millisecond")
def one_millisecond() -> None:
    """Wait as a task waits for somebody else's answer."""
    time.sleep(0.001)
    os.write(_done, b".")


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        one_millisecond.send()
