"""One interface to the queues that the contract is about: send a message, and run what came of it.

The task of every message does what its `plan` says, one word for each attempt: `ok`, `retry`,
`fail`, `expected`, `dead` or `skip`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import dramatiq
from celery import Celery
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries, SkipMessage

from otel_queue_plugins import QueueTracer
from otel_queue_plugins.celery import instrument as instrument_celery
from otel_queue_plugins.celery import uninstrument as uninstrument_celery
from otel_queue_plugins.dramatiq import instrument as instrument_dramatiq
from otel_queue_plugins.dramatiq import uninstrument as uninstrument_dramatiq
from tests.celery.conftest import memory_app, running

if TYPE_CHECKING:
    from collections.abc import Callable

TASK = "resize"
Carriers = list[dict[str, Any]]


class WrongImageError(Exception):
    """What a task raises that fails."""


class Driver(Protocol):
    """A queue, its sender and its worker. `words` are those that a plan may have here."""

    name: str
    system: str
    words: frozenset[str]

    def __init__(self, **options: Any) -> None: ...
    def send(self, *plan: str, relation: str | None = None) -> str: ...
    def carrier(self) -> dict[str, Any]: ...
    def spoil(self, values: dict[str, Any]) -> None: ...
    def work(self, is_done: Callable[[], bool]) -> None: ...
    def close(self) -> None: ...


class OwnQueue:
    """A `QueueTracer` over a list in memory."""

    name, system = "myqueue", "redis"
    words = frozenset({"ok", "retry", "fail", "expected", "dead", "skip"})

    def __init__(self, **options: Any) -> None:
        self.queue = QueueTracer(self.name, system=self.system, **options)
        self.waiting: list[dict[str, Any]] = []

    def send(self, *plan: str, relation: str | None = None) -> str:
        with self.queue.send(task=TASK, destination="images", relation=relation) as send:
            message = {"id": send.message_id, "plan": list(plan), "headers": send.headers}
            self.waiting.append(message | {"attempt": 1})
        return send.message_id

    def carrier(self) -> dict[str, Any]:
        return self.waiting[-1]["headers"]

    def spoil(self, values: dict[str, Any]) -> None:
        self.carrier().update(values)

    def work(self, is_done: Callable[[], bool]) -> None:
        while self.waiting:
            with suppress(WrongImageError, LookupError):
                self._run(self.waiting.pop(0))
        assert is_done()

    def _run(self, message: dict[str, Any]) -> None:
        with self.queue.process(
            task=TASK,
            destination="images",
            message_id=message["id"],
            headers=message["headers"],
            attempt=message["attempt"],
            expected=LookupError,
        ) as delivery:
            word = message["plan"][message["attempt"] - 1]
            if word == "skip":
                delivery.skip(reason="not wanted")
                return
            try:
                run_word(word)
            except WrongImageError:
                if word == "dead":
                    delivery.dead_letter(reason="no more attempts", queue="images.dead")
                if word != "retry":
                    raise
                headers = delivery.retry(delay=0.01, reason="wrong image")
                again = {"attempt": message["attempt"] + 1, "headers": headers}
                self.waiting.append(message | again)

    def close(self) -> None:
        pass


class CeleryQueue:
    """Celery on kombu's broker in memory."""

    name, system = "celery", "memory"
    words = frozenset({"ok", "retry", "fail", "expected"})

    def __init__(self, **options: Any) -> None:
        self.app: Celery = memory_app()
        instrument_celery(self.app, **options)

        @self.app.task(name=TASK, bind=True, shared=False, throws=(LookupError,), max_retries=5)
        def resize(task: Any, plan: list[str]) -> None:
            word = plan[task.request.retries]
            try:
                run_word(word)
            except WrongImageError as error:
                if word == "retry":
                    raise task.retry(exc=error, countdown=0.01) from error
                raise

        self.task = resize
        self.spoiled: dict[str, Any] = {}

    def send(self, *plan: str, relation: str | None = None) -> str:
        options = {"headers": {"otel_relation": relation}} if relation else {}
        return str(self.task.apply_async((list(plan),), **options).id)

    def _queue(self) -> Any:
        connection = self.app.connection_for_read()
        return connection.default_channel._queue_for(self.app.conf.task_default_queue)

    def carrier(self) -> dict[str, Any]:
        return self._queue().queue[-1]["headers"]

    def spoil(self, values: dict[str, Any]) -> None:
        self.carrier().update(values)

    def work(self, is_done: Callable[[], bool]) -> None:
        with running(self.app, concurrency=1):
            wait_for(is_done)

    def close(self) -> None:
        uninstrument_celery()


class DramatiqQueue:
    """Dramatiq on its broker for tests."""

    name, system = "dramatiq", "stub"
    words = frozenset({"ok", "retry", "fail", "expected", "dead", "skip"})

    def __init__(self, **options: Any) -> None:
        self.broker = StubBroker()
        instrument_dramatiq(self.broker, **options)

        def resize(plan: list[str]) -> None:
            message = dramatiq.middleware.CurrentMessage.get_current_message()
            assert message is not None
            run_word(plan[message.options.get("retries", 0)])

        if not any(
            isinstance(each, dramatiq.middleware.CurrentMessage) for each in self.broker.middleware
        ):
            self.broker.add_middleware(dramatiq.middleware.CurrentMessage())
        self.broker.add_middleware(_Skipping())
        self.actor = dramatiq.actor(
            resize,
            actor_name=TASK,
            broker=self.broker,
            min_backoff=1,
            max_backoff=2,
            throws=LookupError,
        )
        assert any(isinstance(each, Retries) for each in self.broker.middleware)

    def send(self, *plan: str, relation: str | None = None) -> str:
        options = {"otel_relation": relation} if relation else {}
        # Of the actor: Dramatiq 1.17 takes no 0 from a message.
        self.actor.options["max_retries"] = plan.count("retry")
        message = self.actor.send_with_options(args=(list(plan),), **options)
        return str(message.message_id)

    def _encoded(self) -> tuple[Any, dict[str, Any]]:
        queue = self.broker.queues["default"].queue
        return queue, dramatiq.Message.decode(queue[-1]).options

    def carrier(self) -> dict[str, Any]:
        return self._carrier_in(self._encoded()[1])

    @staticmethod
    def _carrier_in(options: dict[str, Any]) -> dict[str, Any]:
        return next((each for each in options.values() if isinstance(each, dict)), options)

    def spoil(self, values: dict[str, Any]) -> None:
        queue, _ = self._encoded()
        message = dramatiq.Message.decode(queue.pop())
        self._carrier_in(message.options).update(values)
        queue.append(message.encode())

    def work(self, is_done: Callable[[], bool]) -> None:
        worker = dramatiq.Worker(self.broker, worker_timeout=10, worker_threads=1)
        worker.start()
        try:
            wait_for(is_done)
        finally:
            worker.stop()

    def close(self) -> None:
        uninstrument_dramatiq(self.broker)


class _Skipping(dramatiq.Middleware):
    def before_process_message(self, _broker: Any, message: Any) -> None:
        if message.args[0][0] == "skip":
            raise SkipMessage


def run_word(word: str) -> None:
    """What the task does in one attempt."""
    if word == "expected":
        raise LookupError(word)
    if word != "ok":
        raise WrongImageError(word)


def wait_for(is_done: Callable[[], bool]) -> None:
    """Wait, at most a minute."""
    deadline = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.005)


DRIVERS: tuple[type[Any], ...] = (OwnQueue, CeleryQueue, DramatiqQueue)
