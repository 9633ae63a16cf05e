"""Connects Celery's moments to the verbs of the core, and takes them apart again."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from celery import Celery, __version__, signals
from celery._state import _get_active_apps
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_queue_plugins import sdk
from otel_queue_plugins.celery import apps, patches
from otel_queue_plugins.celery.batches import Batches
from otel_queue_plugins.celery.coexistence import Coexistence
from otel_queue_plugins.celery.deliveries import Running
from otel_queue_plugins.celery.main_process.errbacks import Errbacks
from otel_queue_plugins.celery.main_process.exits import Exits
from otel_queue_plugins.celery.main_process.refused import Refused
from otel_queue_plugins.celery.main_process.undelivered import MainProcess
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.celery.sends import Publishing
from otel_queue_plugins.celery.worker_processes import ProcessSetup
from otel_queue_plugins.celery.workers import Lifecycle
from otel_queue_plugins.celery.workflow import Canvas
from otel_queue_plugins.core import options as choices
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.patching import Table, apply
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

    May be called before or after tasks are defined, also in a signal of a worker that is about to
    start its pool, and again: a later call adds its `app` to what is covered and changes nothing
    else.

    Args:
        app: The app to cover, or what stands for one (`celery.current_app`); None covers every
            app of this process, also those made later.
        relations: For names of tasks, how their process spans relate to the send span: `child`,
            `link`, `none` or `auto`.
        tracer_provider: Where spans go. None is the global provider, which is set up from `OTEL_*`
            when it is first needed, if nobody has set one by then.
        meter_provider: Where measurements go; None as for `tracer_provider`.
        **options: Fields of `Options`. One that is not given comes from its `OTEL_QUEUE_*`
            variable.

    Returns:
        What holds the receivers and wrappers of this process; the same for each call.

    Raises:
        ValueError: An option or a relation has a value that is none of its choices.
        TypeError: There is no option of that name, or `app` is no Celery app. This and the above
            name the choices.
        otel_queue_plugins.sdk.ConfigurationError: A variable is wrong, and `OTEL_QUEUE_STRICT` is
            `true`.
    """
    choices.check_names(options, "relations")
    app = None if app is None else apps.checked(app)
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
    """Take everything back that `instrument` did. Does nothing if it did nothing."""
    while _installed:
        _installed.pop().uninstall()


class CeleryPlugin:
    """The receivers and wrappers of one process. Made by `instrument`, not by hand."""

    def __init__(
        self,
        *,
        options: Options,
        relations: Mapping[str, str] | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._apps: weakref.WeakSet[Celery] | None = weakref.WeakSet()
        self._undo: list[Callable[[], object]] = []
        checked = choices.check_relations(relations)
        choices.check_providers(tracer_provider, meter_provider)
        telemetry = QueueTelemetry(
            "celery",
            options=options,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            set_up=sdk.ensure_providers,
            fast_path=fastpath,
        )
        if options.log_correlation:
            sdk.enable_log_correlation()
        self._coexistence = Coexistence()
        routes = Routes(self._coexistence.check)
        self._lifecycle = Lifecycle(telemetry, routes)
        self._publishing = Publishing(telemetry, routes, self.covers, checked)
        self._canvas = Canvas(self.covers)
        self._errbacks = Errbacks(telemetry, routes, self.covers)
        exits = Exits()
        supervised = self._lifecycle.supervised
        self._running = Running(telemetry, routes, self.covers, supervised, exits)
        self._refused = Refused(telemetry, routes, self.covers)
        self._setup = ProcessSetup(
            self._apply,
            self._undo.append,
            batches=Batches(telemetry, routes, self.covers, supervised, exits),
            exits=exits,
            lifecycle=self._lifecycle,
            main=MainProcess(telemetry, routes, self.covers, exits),
            publishing=self._publishing,
            refused=self._refused,
            running=self._running,
        )

    def cover(self, app: Celery | None) -> None:
        """Include `app`; None includes all there are and will be."""
        if app is None:
            self._apps = None
        elif self._apps is not None:
            self._apps.add(apps.checked(app))
        self._trace_existing_tasks()

    def covers(self, app: Any) -> bool:
        """Whether messages of `app` are traced."""
        return self._apps is None or app in self._apps or self._covers_original(app)

    def _covers_original(self, app: Any) -> bool:
        """Whether `app` stands for a covered one, or is the copy that a pool process got by pickle.

        Celery says so of processes that were not forked (`celery.concurrency.prefork`).
        """
        if apps.behind(app) in (self._apps or ()):
            return True
        fresh = bool(os.environ.get("FORKED_BY_MULTIPROCESSING"))
        return fresh and any(app.main == known.main for known in self._apps or ())

    def install(self) -> None:
        """Connect receivers and put in place the wrappers that every process needs."""
        self._connect()
        self._apply(
            patches.of_every_process(self._publishing, self._running, self._canvas, self._errbacks)
        )
        self._publishing.observe_existing(_get_active_apps())
        self._setup.install_in_batches()

    def join(self) -> None:
        """Put in place what this process needs that has become what it is before."""
        self._setup.join()

    def uninstall(self) -> None:
        """Take receivers and wrappers back, newest first.

        A wrapper that somebody else has wrapped in the meantime stays, and does nothing any more.
        """
        self._apps = weakref.WeakSet()
        self._lifecycle.stop_reporter()
        while self._undo:
            self._undo.pop()()
        self._publishing.leave(_get_active_apps())
        self._running.leave(_existing_tasks())

    def _connect(self) -> None:
        lifecycle = self._lifecycle
        for signal, receiver in (
            (signals.beat_init, self._publishing.beat_init),
            (signals.task_unknown, self._refused.task_unknown),
            (signals.task_rejected, self._refused.task_rejected),
            (signals.worker_init, lifecycle.worker_init),
            (signals.worker_ready, self._coexistence.check),
            (signals.worker_init, self._setup.install_in_worker),
            (signals.worker_ready, lifecycle.worker_ready),
            (signals.worker_process_init, self._setup.install_in_batches),
            (signals.worker_process_init, lifecycle.worker_process_init),
            (signals.worker_process_shutdown, lifecycle.worker_process_shutdown),
            (signals.worker_shutdown, lifecycle.worker_shutdown),
        ):
            signal.connect(receiver, weak=False)
            self._undo.append(partial(signal.disconnect, receiver))

    def _apply(self, table: Table) -> None:
        self._undo.extend(apply(table, __version__))

    def _trace_existing_tasks(self) -> None:
        """Tasks whose tracers were built before us."""
        for task in _existing_tasks():
            if task.__trace__ is not None:
                task.__trace__ = self._running.traced(task.__trace__, task, eager=False)


def _existing_tasks() -> list[Any]:
    return [
        task
        for app in _get_active_apps()
        for task in list(dict.values(app._tasks))  # noqa: SLF001 - `tasks` would finalize the app
    ]
