"""Serve the state of the workers of a Dramatiq process over HTTP."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt
from dramatiq import Consumer, MessageProxy, __version__

from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk import ensure_providers, greenlets
from otel_queue_plugins.sdk.config import serving
from otel_queue_plugins.worker_http.worker import Loop, Phase, Worker

if TYPE_CHECKING:
    import dramatiq

    _Proxy = wrapt.ObjectProxy[Consumer]
else:
    _Proxy = wrapt.ObjectProxy


class Gauges(NamedTuple):
    """What the workers of this process can run and hold, as the metrics have it."""

    capacity: Callable[[], int]
    reserved: Callable[[], int]
    scheduled: Callable[[], int]


class WorkerHttp:
    """The state of the workers of this process: whether their consumers turn and consume."""

    def __init__(self, telemetry: QueueTelemetry, workers: Iterable[dramatiq.Worker]) -> None:
        self._telemetry = telemetry
        self._workers = workers
        self._service: Any = None
        self._phase: Phase = "starting"
        self._turned_at: dict[str, float] = {}
        self._consuming: set[str] = set()

    @never_raises(do_nothing)
    def start(self, gauges: Gauges, *, has_siblings: bool) -> None:
        """Start to serve, if that is asked for. No consumer has been started."""
        self._phase = "starting"
        if self._service is not None or serving.place(os.environ) is None:
            return
        from otel_queue_plugins.worker_http import service

        ensure_providers("metrics")
        worker = self._worker(gauges, has_siblings=has_siblings)
        self._service = service.start(worker, os.environ)
        if self._service is not None:
            self._service.keep_numbers()

    def booted(self) -> None:
        """Count as ready from now on, while messages are consumed."""
        self._phase = "running"

    def stopping(self) -> None:
        """Count as not ready from now on."""
        self._phase = "stopping"

    @never_raises(do_nothing)
    def stopped(self) -> None:
        """Free the port."""
        service, self._service = self._service, None
        if service is not None:
            service.close()

    def watch(self, consume: Callable[[], Any], queue: str) -> Any:
        """Begin to consume `queue`. The consumer is watched where the process serves."""
        if self._service is None:
            return consume()
        self.turn(queue)
        return WatchedConsumer(consume(), queue, self)

    def turn(self, queue: str) -> None:
        """The loop of a consumer thread has turned."""
        self._turned_at[queue] = time.monotonic()

    def set_consuming(self, queue: str, *, is_consuming: bool) -> None:
        """Whether messages of `queue` can be received."""
        self.turn(queue)
        if is_consuming:
            self._consuming.add(queue)
        else:
            self._consuming.discard(queue)

    def _worker(self, gauges: Gauges, *, has_siblings: bool) -> Worker:
        return Worker(
            framework="dramatiq",
            versions={"dramatiq": __version__},
            name=lambda: f"dramatiq@{os.uname().nodename}",
            pool=lambda: "gevent" if greenlets.is_green() else "threads",
            phase=lambda: self._phase,
            loops=lambda: list(self._loops()),
            capacity=gauges.capacity,
            reserved=gauges.reserved,
            scheduled=gauges.scheduled,
            running=None,
            tracer_provider=lambda: self._telemetry.tracer_provider,
            meter_provider=lambda: self._telemetry.meter_provider,
            has_pool_processes=lambda: False,
            has_siblings=has_siblings,
        )

    def _loops(self) -> Iterable[Loop]:
        for worker in list(self._workers):
            for queue, thread in list(worker.consumers.items()):
                name = f"the consumer of {queue}"
                if thread.paused:
                    yield Loop(name, None, consumes=False)
                else:
                    yield Loop(name, self._turned_at.get(queue), queue in self._consuming)


class WatchedConsumer(_Proxy):
    """A consumer that reports each time that its thread asks for a message."""

    def __init__(self, consumer: Consumer, queue: str, http: WorkerHttp) -> None:
        super().__init__(consumer)
        self._self_queue = queue
        self._self_http = http

    def __iter__(self) -> WatchedConsumer:
        return self

    def __next__(self) -> MessageProxy | None:
        try:
            message = next(self.__wrapped__)
        except BaseException:
            self._self_http.set_consuming(self._self_queue, is_consuming=False)
            raise
        self._self_http.set_consuming(self._self_queue, is_consuming=True)
        return message
