"""Dramatiq's stub broker, with consumer and worker threads that are called, not started."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from queue import PriorityQueue
from typing import Any

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.worker import ConsumerThread, WorkerThread

from tests.benchmarks.measured.bench import Bench
from tests.benchmarks.measured.packages import Package

_QUEUE = "default"


def run(package: Package, body: Callable[[Bench], None], task_names: int = 1) -> None:
    """Declare broker, actors and threads, and call `body` with them."""
    broker = StubBroker()
    dramatiq.set_broker(broker)
    package.on_app(broker)
    actors = [_declare(number) for number in range(task_names)]
    broker.emit_after("process_boot")
    body(DramatiqBench(broker, actors))


def _declare(number: int) -> Any:
    def noop(count: int) -> None:
        del count

    declare: Any = dramatiq.actor
    return declare(noop, actor_name=f"noop{number or ''}", queue_name=_QUEUE)


class DramatiqBench:
    def __init__(self, broker: StubBroker, actors: list[Any]) -> None:
        self._broker = broker
        self._actors = actors
        self._work: PriorityQueue[Any] = PriorityQueue()
        self._consumer = ConsumerThread(
            broker=broker, queue_name=_QUEUE, prefetch=2, work_queue=self._work, worker_timeout=100
        )
        self._consumer.consumer = broker.consume(_QUEUE, prefetch=1_000_000)
        self._worker = WorkerThread(
            broker=broker,
            consumers={_QUEUE: self._consumer},
            work_queue=self._work,
            worker_timeout=100,
        )
        # A thread of its own would have a context of its own.
        self._consumer_context = contextvars.copy_context()
        self._consumer_context.run(broker.emit_after, "consumer_thread_boot", self._consumer)
        broker.emit_after("worker_thread_boot", self._worker)

    def send(self, count: int) -> None:
        actors = self._actors
        for number in range(count):
            actors[number % len(actors)].send(1)

    def execute(self, count: int) -> None:
        messages: Any = self._consumer.consumer
        consumer, worker, work = self._consumer, self._worker, self._work
        in_consumer = self._consumer_context.run

        def fetch() -> None:
            consumer.handle_message(next(messages))

        for _ in range(count):
            in_consumer(fetch)
            worker.process_message(work.get().message)

    def message_bytes(self) -> int:
        self.send(1)
        return len(self._broker.queues[_QUEUE].get(block=False))
