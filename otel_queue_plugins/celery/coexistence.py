"""Another tracer of Celery in the same process makes every message two spans, or more."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from typing import Any, Final

import celery.app.trace
from celery import Celery, Task, signals

from otel_queue_plugins.core.safety import do_nothing, never_raises

OTHERS: Final = {
    "opentelemetry.instrumentation.celery": "opentelemetry-instrumentation-celery",
    "ddtrace": "ddtrace",
    "sentry_sdk": "sentry-sdk",
}

_log = logging.getLogger("otel_queue_plugins")


class Coexistence:
    """Says once which other tracers are active, as soon as one is seen."""

    def __init__(self) -> None:
        self._told = False

    @never_raises(do_nothing)
    def check(self, **_: Any) -> None:
        """Look whether one has come since the last time."""
        found = () if self._told else others()
        if found:
            self._told = True
            _log.warning(
                "otel_queue_plugins: %s traces Celery in this process, too: every message will be "
                "seen twice. Turn one of them off.",
                " and ".join(found),
            )


def others() -> list[str]:
    """The other tracers whose code is called when a message is sent or a task runs."""
    modules = {name for code in _codes() if (name := _module(code))}
    return [
        title
        for package, title in OTHERS.items()
        if any(name == package or name.startswith(f"{package}.") for name in modules)
    ]


def _codes() -> Iterator[Any]:
    for signal in (signals.before_task_publish, signals.task_prerun):
        for _, receiver in list(signal.receivers or ()):
            yield receiver() if isinstance(receiver, weakref.ref) else receiver
    for patched in (Celery.send_task, Task.apply_async, celery.app.trace.build_tracer):
        code: Any = patched
        while code is not None:
            yield code
            code = getattr(code, "__wrapped__", None)


def _module(code: Any) -> str | None:
    """Where `code` was written; `functools.wraps` makes its `__module__` say something else."""
    code = getattr(code, "_self_wrapper", code)
    code = getattr(code, "__func__", code)
    found = getattr(code, "__globals__", {}).get("__name__")
    return found if isinstance(found, str) else None
