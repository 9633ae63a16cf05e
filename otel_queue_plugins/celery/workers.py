"""Workers and their pool processes, from start to end: providers, gauges, flushes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from celery.concurrency import get_implementation, prefork
from celery.worker import state
from opentelemetry import context

from otel_queue_plugins import sdk
from otel_queue_plugins.celery import consuming
from otel_queue_plugins.celery.copying import copied
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.api import suppression
from otel_queue_plugins.core.messages import Route
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk import relay

if TYPE_CHECKING:
    from otel_queue_plugins.reporting.reporter import Reporter


class Workers:
    """Receivers of the signals of a worker, and wrappers that set or lift the suppression."""

    def __init__(self, telemetry: QueueTelemetry, routes: Routes) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._main_pid: int | None = None
        self._child_pid: int | None = None
        self._reporter: Reporter | None = None

    def is_pool_process(self) -> bool:
        """Whether this is a pool process, whose death its parent reports."""
        return self._child_pid == os.getpid()

    @never_raises(do_nothing)
    def worker_init(self, sender: Any = None, **_: Any) -> None:
        """Check the settings again as the main process of a worker starts.

        A setting may be wrong with a pool of processes only. Raises SystemExit for one if
        `OTEL_QUEUE_STRICT` is `true`.
        """
        self._main_pid = os.getpid()
        sdk.set_siblings_check(lambda: _has_pool_processes(getattr(sender, "pool_cls", None)))
        try:
            sdk.validate()
        except sdk.ConfigurationError as error:
            raise SystemExit(str(error)) from None

    def run_suppressed(self, wrapped: Any, _owner: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap a function of the worker: broker clients make no spans in it, outside of tasks.

        For `WorkController.start`, and for what may run in a thread or greenlet of its own, which
        starts with an empty context.
        """
        if self._needs_no_suppression():
            return wrapped(*args, **kwargs)
        token = suppression.suppress_instrumentation()
        try:
            return wrapped(*args, **kwargs)
        finally:
            context.detach(token)

    def run_unsuppressed(
        self, wrapped: Any, _signal: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `send` of a signal of the worker: receivers are user code, which may make spans."""
        if not context.get_value(suppression.LEGACY_KEY):
            return wrapped(*args, **kwargs)
        token = suppression.allow_instrumentation()
        try:
            return wrapped(*args, **kwargs)
        finally:
            context.detach(token)

    def suppress_in_this_thread(self) -> None:
        """Set the suppression for a worker that runs in this thread already."""
        if not self._needs_no_suppression():
            suppression.suppress_instrumentation()

    def _needs_no_suppression(self) -> bool:
        """Whether spans of broker clients are wanted, or suppressed already."""
        return bool(
            self._telemetry.options.broker_spans or context.get_value(suppression.LEGACY_KEY)
        )

    @never_raises(do_nothing)
    def worker_ready(self, sender: Any, **_: Any) -> None:
        """Report the gauges of a worker that consumes now, and start the relay."""
        pool = sender.controller.pool if hasattr(sender, "controller") else None
        consumed = consuming.Consumed(sender)
        self._telemetry.observe_worker(
            capacity=None if pool is None else lambda: slots(pool),
            reserved=lambda: max(0, len(state.reserved_requests) - len(state.active_requests)),
            running=self._running if relay.is_on("metrics") else None,
            scheduled=consumed.scheduled,
            consuming=consumed.queues,
        )
        self._telemetry.connect()
        relay.start()
        if self._telemetry.options.queue_state and self._reporter is None:
            from otel_queue_plugins.reporting import starting

            self._reporter = starting.start_for_celery(
                sender.app, consumed.names, self._telemetry.meter_provider
            )

    def _running(self) -> list[tuple[Route, float]]:
        """Return the route and the start of each delivery that the pool runs.

        The main process knows them, so that none of a dead pool process is left.
        """
        return [
            (self._routes.of_request(each.app, each.type, each.request_dict), each.time_start)
            for each in copied(state.active_requests)
            if each.time_start
        ]

    @never_raises(do_nothing)
    def worker_process_init(self, **_: Any) -> None:
        """Remember that this is a pool process. In the solo pool it is the main process."""
        if self._main_pid != os.getpid():
            self._child_pid = os.getpid()

    def initialize_process(self, wrapped: Any, _: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `celery.concurrency.prefork.process_initializer(app, hostname)`.

        Telemetry is connected after all receivers of `worker_process_init`, whatever their order,
        because one of them may set providers.
        """
        result = wrapped(*args, **kwargs)
        self._connect()
        return result

    @never_raises(do_nothing)
    def _connect(self) -> None:
        self._telemetry.connect()

    @never_raises(do_nothing)
    def worker_process_shutdown(self, **_: Any) -> None:
        """Flush as a pool process ends. `os._exit` ends it, which calls no `atexit` function."""
        sdk.flush()

    @never_raises(do_nothing)
    def worker_shutdown(self, **_: Any) -> None:
        """Flush as the main process ends."""
        self.stop_reporter()
        sdk.flush()

    @never_raises(do_nothing)
    def stop_reporter(self) -> None:
        """Give back the leases on queues, and report their state no more."""
        reporter, self._reporter = self._reporter, None
        if reporter is not None:
            reporter.stop()


def _has_pool_processes(pool: Any) -> bool:
    """Whether a worker with this pool, by name or class, has pool processes."""
    pool_type = None if pool is None else get_implementation(pool)
    return isinstance(pool_type, type) and issubclass(pool_type, prefork.TaskPool)


def slots(pool: Any) -> int:
    """Return how many tasks `pool` runs at once; 0 if it has stopped."""
    try:
        return int(pool.num_processes)
    except AttributeError:
        return 0
