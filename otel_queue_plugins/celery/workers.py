"""Workers and their pool processes start and end: providers, gauges, flushes."""

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


class Lifecycle:
    """Where in a worker this process is, and what its start and its end ask for."""

    def __init__(self, telemetry: QueueTelemetry, routes: Routes) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._main_pid: int | None = None
        self._child_pid: int | None = None
        self._reporter: Reporter | None = None

    def supervised(self) -> bool:
        """Whether this is a pool process, whose death its parent reports."""
        return self._child_pid == os.getpid()

    @never_raises(do_nothing)
    def worker_init(self, sender: Any = None, **_: Any) -> None:
        """The main process of a worker starts.

        Raises SystemExit where OTEL_QUEUE_STRICT asks for it: with a pool of processes a setting
        may be wrong that was right before.
        """
        self._main_pid = os.getpid()
        sdk.set_siblings_check(lambda: _forks(getattr(sender, "pool_cls", None)))
        try:
            sdk.validate()
        except sdk.ConfigurationError as error:
            raise SystemExit(str(error)) from None

    def quietly(self, wrapped: Any, _owner: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around what a worker runs: its broker traffic outside of tasks is noise.

        That is `WorkController.start`, and what else may be a greenlet, which starts with no
        context.
        """
        if self._is_as_it_should_be():
            return wrapped(*args, **kwargs)
        token = suppression.suppress_instrumentation()
        try:
            return wrapped(*args, **kwargs)
        finally:
            context.detach(token)

    def aloud(self, wrapped: Any, _signal: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `send` of a signal of the worker's: what handlers of users do is no noise."""
        if not context.get_value(suppression.LEGACY_KEY):
            return wrapped(*args, **kwargs)
        token = suppression.allow_instrumentation()
        try:
            return wrapped(*args, **kwargs)
        finally:
            context.detach(token)

    def be_quiet(self) -> None:
        """As `quietly`, for what runs already and goes on in this thread."""
        if not self._is_as_it_should_be():
            suppression.suppress_instrumentation()

    def _is_as_it_should_be(self) -> bool:
        """Whether broker traffic is wanted as spans, or is quiet already."""
        return bool(
            self._telemetry.options.broker_spans or context.get_value(suppression.LEGACY_KEY)
        )

    @never_raises(do_nothing)
    def worker_ready(self, sender: Any, **_: Any) -> None:
        """The worker consumes: report its slots and what it holds."""
        pool = sender.controller.pool if hasattr(sender, "controller") else None
        consumed = consuming.Consumed(sender)
        self._telemetry.observe_worker(
            capacity=None if pool is None else lambda: _slots(pool),
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
        """What the pool runs, as this process knows it: nothing of a dead one stays."""
        return [
            (self._routes.of_request(each.app, each.type, each.request_dict), each.time_start)
            for each in copied(state.active_requests)
            if each.time_start
        ]

    @never_raises(do_nothing)
    def worker_process_init(self, **_: Any) -> None:
        """A process that runs tasks starts; in the solo pool that is the main one."""
        if self._main_pid != os.getpid():
            self._child_pid = os.getpid()

    def initialize_process(self, wrapped: Any, _: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `celery.concurrency.prefork.process_initializer(app, hostname)`.

        After it, and so after all receivers of `worker_process_init`, whatever their order: one of
        them may set providers.
        """
        result = wrapped(*args, **kwargs)
        self._connect()
        return result

    @never_raises(do_nothing)
    def _connect(self) -> None:
        self._telemetry.connect()

    @never_raises(do_nothing)
    def worker_process_shutdown(self, **_: Any) -> None:
        """A pool process ends, with `os._exit`: nothing else will flush."""
        sdk.flush()

    @never_raises(do_nothing)
    def worker_shutdown(self, **_: Any) -> None:
        """The main process ends."""
        self.stop_reporter()
        sdk.flush()

    @never_raises(do_nothing)
    def stop_reporter(self) -> None:
        """Give back the leases on queues, and report their state no more."""
        reporter, self._reporter = self._reporter, None
        if reporter is not None:
            reporter.stop()


def _forks(pool: Any) -> bool:
    """Whether a worker with this pool has processes for its tasks."""
    kind = None if pool is None else get_implementation(pool)
    return isinstance(kind, type) and issubclass(kind, prefork.TaskPool)


def _slots(pool: Any) -> int:
    """How many tasks `pool` runs at once. A pool that has stopped may not know."""
    try:
        return int(pool.num_processes)
    except AttributeError:
        return 0
