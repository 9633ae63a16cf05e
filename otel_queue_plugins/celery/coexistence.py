"""Warn of other tracers of Celery in the same process: each message would have two spans."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from typing import Any

import celery.app.trace
from celery import Celery, Task, signals

from otel_queue_plugins.core import other_tracers
from otel_queue_plugins.core.safety import do_nothing, never_raises

_log = logging.getLogger("otel_queue_plugins")


class OtherTracers:
    """Log once which other tracers are active."""

    def __init__(self) -> None:
        self._warned = False

    @never_raises(do_nothing)
    def check(self, **_: Any) -> None:
        """Log a warning if another tracer is active. Called again later, as one may be added."""
        titles = () if self._warned else active_tracers()
        if titles:
            self._warned = True
            _log.warning(
                "otel_queue_plugins: %s traces Celery in this process, too: every message will be "
                "seen twice. Turn one of them off.",
                " and ".join(titles),
            )


def active_tracers() -> list[str]:
    """Return the names of other tracers that are called when a message is sent or a task runs."""
    return other_tracers.titles(map(other_tracers.module_of, _traced_functions()))


def _traced_functions() -> Iterator[Any]:
    for signal in (signals.before_task_publish, signals.task_prerun):
        for _, receiver in list(signal.receivers or ()):
            yield receiver() if isinstance(receiver, weakref.ref) else receiver
    for patched in (Celery.send_task, Task.apply_async, celery.app.trace.build_tracer):
        yield from other_tracers.wrappers(patched)
