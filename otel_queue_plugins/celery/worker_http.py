"""Serve the state of a worker over HTTP, and to `celery inspect otel_queue`."""

from __future__ import annotations

import os
import sys
import time
import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import kombu
from celery import __version__, bootsteps
from celery.worker import state

from otel_queue_plugins.celery import consuming, pools
from otel_queue_plugins.celery.copying import copied
from otel_queue_plugins.celery.workers import slots
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk.config import serving
from otel_queue_plugins.worker_http.worker import Loop, Phase, Worker

COMMAND: Final = "otel_queue"
_HELP: Final = "What the worker runs and has run, and what became of its telemetry."
_LOOP: Final = "the consumer loop"
_TICK: Final = 1.0
_POOL_NAMES: Final = {"thread": "threads"}


class WorkerHttp:
    """The state of the worker of this process."""

    def __init__(self, telemetry: QueueTelemetry) -> None:
        self._telemetry = telemetry
        self._service: Any = None
        self._steps: list[type[Any]] = []
        self._begin(None)

    def _begin(self, controller: Any) -> None:
        self._controller = controller
        self._timer: Any = None
        self._phase: Phase = "starting"
        self._turned_at: float | None = None
        self._consumes = False

    @never_raises(do_nothing)
    def register_command(self, **_: Any) -> None:
        """Add the remote-control command, in a process that has loaded the others.

        Those are workers, and the `celery` command, which knows the names of commands from there.
        """
        control = sys.modules.get("celery.worker.control")
        if control is not None:
            control.inspect_command(name=COMMAND, help=_HELP)(self._answer_command)

    @never_raises(do_nothing)
    def worker_init(self, sender: Any = None, **_: Any) -> None:
        """Prepare the worker to serve, if it is asked for. Its pool has not been started."""
        self._begin(sender)
        self.register_command()
        app = getattr(sender, "app", None)
        if app is not None and serving.place(os.environ) is not None:
            # The same classes for each worker of a process: a set of steps has each of them once.
            self._steps = self._steps or [_worker_step(self), _consumer_step(self)]
            for blueprint, step in zip(("worker", "consumer"), self._steps, strict=True):
                app.steps[blueprint].add(step)

    @never_raises(do_nothing)
    def worker_ready(self, **_: Any) -> None:
        """Count as ready from now on, while messages are consumed."""
        self._phase = "running"

    @never_raises(do_nothing)
    def worker_stopping(self, **_: Any) -> None:
        """Count as not ready from now on."""
        self._phase = "stopping"

    @never_raises(do_nothing)
    def worker_shutdown(self, **_: Any) -> None:
        """Free the port."""
        service, self._service = self._service, None
        if service is not None:
            service.close()

    @never_raises(do_nothing)
    def start(self) -> None:
        """Start to serve, once the pool has been forked."""
        from otel_queue_plugins.worker_http import service

        self.worker_shutdown()
        self._service = service.start(self._worker(), os.environ)
        if self._service is not None:
            self._service.keep_numbers()

    @never_raises(do_nothing)
    def watch(self, consumer: Any) -> None:
        """Watch the loop of `consumer`, which is about to start."""
        self._turn()
        self._consumes = True
        if consumer.hub is not None:
            self._timer = consumer.hub.call_repeatedly(_TICK, self._turn)
        else:
            perform = type(consumer).perform_pending_operations.__get__(consumer)
            consumer.perform_pending_operations = partial(self._turn_and, perform)

    @never_raises(do_nothing)
    def leave(self) -> None:
        """The loop has ended: the connection is lost, or the worker stops."""
        self._turned_at = None
        self._consumes = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._turned_at = time.monotonic()

    def _turn_and(self, perform: Callable[[], Any]) -> Any:
        self._turn()
        return perform()

    def _worker(self) -> Worker:
        controller = self._controller
        return Worker(
            framework="celery",
            versions={"celery": __version__, "kombu": kombu.__version__},
            name=lambda: controller.hostname,
            pool=self._pool_name,
            phase=lambda: self._phase,
            loops=self._loops,
            capacity=self._capacity,
            reserved=lambda: max(0, len(state.reserved_requests) - len(state.active_requests)),
            scheduled=self._scheduled,
            running=_running,
            tracer_provider=lambda: self._telemetry.tracer_provider,
            meter_provider=lambda: self._telemetry.meter_provider,
            has_pool_processes=lambda: pools.is_prefork(controller.pool),
            has_siblings=False,
        )

    def _loops(self) -> list[Loop]:
        if self._turned_at is not None and self._runs_in_loop() and state.active_requests:
            self._turn()
        return [Loop(_LOOP, self._turned_at, self._consumes)]

    def _runs_in_loop(self) -> bool:
        """Whether a task keeps the loop from turning: it is busy then."""
        return self._pool_name() == "solo"

    def _pool_name(self) -> str | None:
        module = pools.pool_module(self._controller)
        name = None if module is None else module.rpartition(".")[2]
        return _POOL_NAMES.get(name or "", name)

    def _capacity(self) -> int | None:
        pool = getattr(self._controller, "pool", None)
        return None if pool is None else slots(pool)

    def _scheduled(self) -> int | None:
        consumer = getattr(self._controller, "consumer", None)
        return None if consumer is None else consuming.Consumed(consumer).scheduled()

    def _answer_command(self, _state: Any, **_: Any) -> Mapping[str, Any] | None:
        from otel_queue_plugins.worker_http import service

        found = None if self._service is None else self._service.stats()
        return found or service.stats_once(self._worker())


def _running() -> list[tuple[str, float]]:
    requests = copied(state.active_requests)
    return [(each.name, each.time_start) for each in requests if each.time_start]


def _worker_step(http: WorkerHttp) -> type[Any]:
    """A step of the worker: after its pool has been forked, before messages are consumed."""

    def start(_step: Any, _controller: Any) -> None:
        http.start()

    def stop(_step: Any, _controller: Any) -> None:
        """Serve on: the worker waits for its tasks."""

    requires = ("celery.worker.components:Pool",)
    return _step("Serving", requires=requires, start=start, stop=stop, terminate=stop)


def _consumer_step(http: WorkerHttp) -> type[Any]:
    """A step of the consumer, which starts with each connection, right before its loop."""

    def start(_step: Any, consumer: Any) -> None:
        http.watch(consumer)

    def stop(_step: Any, _consumer: Any) -> None:
        http.leave()

    methods = {"start": start, "stop": stop, "shutdown": stop, "terminate": stop}
    return _step("Watching", requires=("celery.worker.consumer.tasks:Tasks",), **methods)


def _step(name: str, **members: Any) -> type[Any]:
    base = (bootsteps.StartStopStep,)
    return types.new_class(name, base, {}, lambda namespace: namespace.update(members))
