"""Wrappers around what a framework does with a message: the plainest way to get spans around it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol


class Spans(Protocol):
    """Makes a span around a send and around a run of a message; `go` does the work."""

    def send(
        self, message_id: str, carrier: MutableMapping[str, Any], go: Callable[[], Any]
    ) -> Any: ...

    def run(
        self, message_id: str, carrier: MutableMapping[str, Any], go: Callable[[], Any]
    ) -> Any: ...


class CeleryWrappers:
    """Wraps Celery's publish and the tracer of every task."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def wrap_sending(self, app: Any) -> None:
        publish = app.amqp.send_task_message

        def send(producer: Any, name: str, message: Any, **options: Any) -> Any:
            headers = message.headers
            go = lambda: publish(producer, name, message, **options)  # noqa: E731
            return self._spans.send(headers["id"], headers, go)

        app.amqp.send_task_message = send

    def wrap_running(self, app: Any) -> None:
        for task in app.tasks.values():
            task.__trace__ = self._traced(task.__trace__)

    def _traced(self, trace_task: Callable[..., Any]) -> Callable[..., Any]:
        def traced(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
            go = lambda: trace_task(uuid, args, kwargs, request)  # noqa: E731
            return self._spans.run(uuid, request, go)

        return traced


class DramatiqWrappers:
    """Wraps the broker's enqueue and the worker thread's handling of a message."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def wrap(self, broker: Any) -> None:
        from dramatiq.worker import WorkerThread

        enqueue, process = broker.enqueue, WorkerThread.process_message

        def send(message: Any, *, delay: int | None = None) -> Any:
            carrier: dict[str, Any] = {}
            message.options["carrier"] = carrier
            go = lambda: enqueue(message, delay=delay)  # noqa: E731
            return self._spans.send(message.message_id, carrier, go)

        def run(thread: Any, message: Any) -> None:
            go = lambda: process(thread, message)  # noqa: E731
            self._spans.run(message.message_id, message.options["carrier"], go)

        broker.enqueue = send
        WorkerThread.process_message = run  # type: ignore[method-assign,assignment]
