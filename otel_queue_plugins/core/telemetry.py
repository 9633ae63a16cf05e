"""`QueueTelemetry`: the verbs by which an adapter reports what happens to a message."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_queue_plugins.core.api.recorder import FastPath
from otel_queue_plugins.core.carrier import correlation
from otel_queue_plugins.core.connection import Connection, SetUp, no_set_up
from otel_queue_plugins.core.messages import Route
from otel_queue_plugins.core.metrics.observed import Consuming, Measure
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.route_templates import RouteTemplate, RouteTemplates
from otel_queue_plugins.core.task_names import Names
from otel_queue_plugins.core.verbs.detached import DetachedVerbs
from otel_queue_plugins.core.verbs.receive import ReceiveVerbs
from otel_queue_plugins.core.verbs.send import SendVerbs
from otel_queue_plugins.core.verbs.settle import SettleVerbs

DeliveriesInProgress = Callable[[], Iterable[tuple[Route, float]]]
"""Deliveries that run now, each by its route and its start in seconds since the epoch."""


class QueueTelemetry(SendVerbs, DetachedVerbs, SettleVerbs, ReceiveVerbs):
    """The verbs that an adapter calls, one instance for each framework and process.

    No verb raises: what fails in one is logged, at most once a minute.

    Args:
        framework: `celery`, `dramatiq`, ...
        options: How messages are traced and measured; None for the defaults.
        tracer_provider: The provider for spans; None for the global one.
        meter_provider: The provider for metrics; None for the global one.
        set_up: Called when telemetry is needed, with the signals (`traces`, `metrics`) that have
            no provider yet.
        fast_path: Functions that record at less cost than the API; None for the API alone.
        clock: Returns the time in nanoseconds since the epoch.
    """

    def __init__(
        self,
        framework: str,
        *,
        options: Options | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        set_up: SetUp = no_set_up,
        fast_path: FastPath | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.framework = framework
        self.options = options or Options()
        self._clock = clock
        self._correlation = correlation.of_options(self.options)
        self.wants_arguments = bool(self.options.correlation)
        self._template_of = RouteTemplates(framework, self.options).of
        self._connection = Connection(
            options=self.options,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            set_up=set_up,
            fast_path=fast_path,
            clock=clock,
        )

    @property
    def tracer_provider(self) -> TracerProvider:
        """The provider that spans go to: the one that was given, else the global one."""
        return self._connection.tracer_provider()

    @property
    def meter_provider(self) -> MeterProvider:
        """The provider that measurements go to: the one that was given, else the global one."""
        return self._connection.meter_provider()

    def observe_worker(
        self,
        *,
        capacity: Measure | None,
        reserved: Measure | None,
        running: DeliveriesInProgress | None = None,
        scheduled: Measure | None = None,
        consuming: Consuming | None = None,
    ) -> None:
        """Report the gauges of this worker. Each function is called at every collection.

        Args:
            capacity: Returns how many tasks the worker can run at once; None if unknown.
            reserved: Returns how many messages it holds without running them; None if unknown.
            running: Returns the deliveries that run in processes which do not record their
                start; None if there are no such processes.
            scheduled: Returns how many messages it holds that are not due yet; None if unknown.
            consuming: Returns the queues it consumes, each as `messaging.system` and name; None
                if unknown.
        """
        with_templates = None if running is None else partial(self._with_templates, running)
        self._connection.observe_worker(
            capacity=capacity,
            reserved=reserved,
            running=with_templates,
            scheduled=scheduled,
            consuming=consuming,
        )

    def observe_task_names(self, names: Names) -> None:
        """Say which tasks this process knows: metrics of a workflow have the name of its first.

        Args:
            names: Returns the names of all tasks. It is called when a name is looked for.
        """
        self._connection.task_names.sources.append(names)

    def _with_templates(self, running: DeliveriesInProgress) -> list[tuple[RouteTemplate, int]]:
        return [(self._template_of(route), int(at * 1e9)) for route, at in running()]
