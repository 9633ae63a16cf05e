"""A real Celery worker on the solo pool and kombu's memory broker, its event loop in our hands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import WorkerShutdown
from celery.worker.consumer import Consumer
from kombu.transport.memory import Channel

from tests.benchmarks.measured.bench import Bench
from tests.benchmarks.measured.packages import Package

_QUEUE = "default"


def run(package: Package, body: Callable[[Bench], None], task_names: int = 1) -> None:
    """Start the worker, call `body` where its event loop would run, and stop it."""
    app = Celery("bench", broker="memory://", set_as_current=True)
    app.conf.update(
        task_default_queue=_QUEUE,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )
    tasks = [_declare(app, number) for number in range(task_names)]
    app.finalize()
    package.on_app(app)

    def loop(consumer: Any, connection: Any, task_consumer: Any, *rest: Any) -> None:
        qos = rest[2]
        task_consumer.on_message = consumer.create_task_handler()
        task_consumer.consume()
        consumer.on_ready()
        package.on_worker(app)
        body(CeleryBench(tasks, consumer, connection, qos))
        raise WorkerShutdown(0)

    class LentLoop(Consumer):
        pass

    LentLoop.loop = staticmethod(loop)
    app.Worker(
        pool="solo",
        consumer_cls=LentLoop,
        quiet=True,
        loglevel="WARNING",
        redirect_stdouts=False,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    ).start()


def _declare(app: Celery, number: int) -> Any:
    def noop(count: int) -> None:
        _Done.count += count

    return app.task(noop, name=f"noop{number or ''}", ignore_result=False)


class _Done:
    count = 0


class CeleryBench:
    def __init__(self, tasks: list[Any], consumer: Any, connection: Any, qos: Any) -> None:
        self._tasks = tasks
        self._consumer = consumer
        self._connection = connection
        self._qos = qos

    def send(self, count: int) -> None:
        tasks = self._tasks
        for number in range(count):
            tasks[number % len(tasks)].apply_async((1,))

    def execute(self, count: int) -> None:
        """What the worker's blocking loop does between two messages, until `count` are done."""
        target = _Done.count + count
        consumer, connection, qos = self._consumer, self._connection, self._qos
        while _Done.count < target:
            if qos.prev != qos.value:
                qos.update()
            consumer.perform_pending_operations()
            connection.drain_events(timeout=2.0)

    def message_bytes(self) -> int:
        self.send(1)
        message = Channel.queues[_QUEUE].get(block=False)
        message["headers"]["origin"] = "origin"
        return len(json.dumps(message))
