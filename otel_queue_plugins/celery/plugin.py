"""The plugin: which apps it covers, its providers and options, its parts."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

from celery import Celery
from celery._state import _get_active_apps
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_queue_plugins import sdk
from otel_queue_plugins.celery import apps, log_arguments
from otel_queue_plugins.celery.coexistence import OtherTracers
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.celery.installation import Installation
from otel_queue_plugins.celery.join import join_running_process
from otel_queue_plugins.celery.main_process.exit_times import ExitTimes
from otel_queue_plugins.celery.parts import Parts
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.celery.workers import Workers
from otel_queue_plugins.core import options as choices
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk import fastpath

_installed: list[CeleryPlugin] = []


def instrument(
    app: Celery | None = None,
    *,
    relations: Mapping[str, str] | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    **options: Any,
) -> CeleryPlugin:
    """Trace and measure `app`, or every Celery app of this process.

    May be called before or after tasks are defined, and in a receiver of `worker_init`. A second
    call adds its `app` to those that are covered, and changes nothing else.

    Args:
        app: The app to cover, or a proxy of one such as `celery.current_app`. None covers every
            app of this process, also those made later.
        relations: The relation of the process spans of a task, by the name of the task: `child`,
            `link`, `none` or `auto`.
        tracer_provider: The provider for spans. None is the global provider, which is set up from
            `OTEL_*` when it is first needed, unless the application has set one by then.
        meter_provider: The provider for metrics. None as for `tracer_provider`.
        **options: Fields of `Options`. The value of one that is not given comes from its
            `OTEL_QUEUE_*` variable.

    Returns:
        The plugin of this process, the same for each call.

    Raises:
        ValueError: An option or a relation has a value that is not one of its choices. The message
            has the choices.
        TypeError: There is no option of that name (the message has the names), or `app` is no
            Celery app.
        otel_queue_plugins.sdk.ConfigurationError: A variable has a wrong value, and
            `OTEL_QUEUE_STRICT` is `true`.
    """
    choices.check_names(options, "relations")
    app = None if app is None else apps.check_app(app)
    first = not _installed
    if first:
        plugin = CeleryPlugin(
            relations=relations,
            options=Options.from_environ(os.environ, **options),
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
        )
        sdk.validate()
        sdk.set_up_on_first_use()
        plugin.install()
        _installed.append(plugin)
    else:
        providers = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
        choices.warn_of_unused("Celery", {**options, "relations": relations, **providers})
    _installed[0].cover(app)
    if first:
        _installed[0].join()
    return _installed[0]


def uninstrument() -> None:
    """Take back what `instrument` has done. Does nothing if nothing is instrumented."""
    while _installed:
        _installed.pop().uninstall()


def is_instrumented(app: Any) -> bool:
    """Whether messages of `app` are traced in this process."""
    return any(plugin.covers(app) for plugin in _installed)


class CeleryPlugin:
    """The receivers and wrappers of one process. Only `instrument` makes one."""

    def __init__(
        self,
        *,
        options: Options,
        relations: Mapping[str, str] | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._apps: weakref.WeakSet[Celery] | None = weakref.WeakSet()
        checked_relations = choices.check_relations(relations)
        choices.check_providers(tracer_provider, meter_provider)
        telemetry = QueueTelemetry(
            "celery",
            options=options,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            set_up=sdk.ensure_providers,
            fast_path=fastpath,
        )
        sdk.log_privacy.redact(options.redact)
        if not options.log_arguments:
            sdk.log_privacy.hide_arguments(log_arguments.without_arguments)
        if options.log_correlation:
            sdk.enable_log_correlation()
        if options.log_trace_url:
            sdk.enable_log_trace_url()
        telemetry.observe_task_names(lambda: [task.name for task in _existing_tasks()])
        other_tracers = OtherTracers()
        routes = Routes(other_tracers.check)
        workers = Workers(telemetry, routes)
        shared = Collaborators(
            telemetry=telemetry,
            routes=routes,
            covers=self.covers,
            is_pool_process=workers.is_pool_process,
            exit_times=ExitTimes(),
        )
        self._parts = Parts(
            shared, workers=workers, other_tracers=other_tracers, relations=checked_relations
        )
        self._installation = Installation(self._parts)

    def cover(self, app: Celery | None) -> None:
        """Trace and measure `app` from now on; None for every app, also those made later."""
        if app is None:
            self._apps = None
        elif self._apps is not None:
            self._apps.add(apps.check_app(app))
        self._trace_existing_tasks()

    def covers(self, app: Any) -> bool:
        """Whether messages of `app` are traced."""
        return self._apps is None or app in self._apps or self._covers_original(app)

    def _covers_original(self, app: Any) -> bool:
        """Whether `app` is a proxy of a covered app, or its copy in a pool process.

        A pool process that was not forked has the app from a pickle. Celery sets the variable in
        such processes (`celery.concurrency.prefork`).
        """
        if apps.unwrap_proxy(app) in (self._apps or ()):
            return True
        is_spawned = bool(os.environ.get("FORKED_BY_MULTIPROCESSING"))
        return is_spawned and any(app.main == each.main for each in self._apps or ())

    def install(self) -> None:
        """Put in place the receivers and wrappers that every process needs."""
        self._installation.install_in_every_process()
        self._parts.sends.observe_existing(_get_active_apps())

    def join(self) -> None:
        """Put in place what a process needs that is a worker, a pool process or beat already."""
        join_running_process(self._parts, self._installation)

    def uninstall(self) -> None:
        """Take receivers and wrappers back, the newest first.

        A wrapper of ours that another package has wrapped since stays, and does nothing any more.
        """
        self._apps = weakref.WeakSet()
        self._parts.workers.stop_reporter()
        self._installation.uninstall()
        self._parts.sends.uninstall(_get_active_apps())
        self._parts.deliveries.uninstall(_existing_tasks())

    def _trace_existing_tasks(self) -> None:
        """Wrap the tracers that Celery has built already."""
        for task in _existing_tasks():
            if task.__trace__ is not None:
                task.__trace__ = self._parts.deliveries.observed(task.__trace__, task, eager=False)


def _existing_tasks() -> list[Any]:
    return [
        task
        for app in _get_active_apps()
        for task in list(dict.values(app._tasks))  # noqa: SLF001 - `tasks` would finalize the app
    ]
