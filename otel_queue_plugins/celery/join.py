"""Instrument a process that is a worker, a pool process or beat already.

Celery has sent the signals of its start before `instrument` was called. The functions here do what
receivers of those signals do.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from billiard.process import current_process
from celery.app.task import Task

from otel_queue_plugins.celery import role
from otel_queue_plugins.celery.installation import Installation
from otel_queue_plugins.celery.parts import Parts
from otel_queue_plugins.celery.pools import is_prefork
from otel_queue_plugins.core.safety import do_nothing, never_raises

_log = logging.getLogger("otel_queue_plugins")


@never_raises(do_nothing)
def join_running_process(parts: Parts, installation: Installation) -> None:
    """Do what the signals that this process has missed would have caused."""
    current = role.current()
    if current.kind == "worker":
        _join_worker(parts, installation, current)
    elif current.kind == "pool process":
        _join_pool_process(parts)
    elif current.kind == "beat":
        parts.sends.beat_init()


def _join_worker(parts: Parts, installation: Installation, current: role.Role) -> None:
    worker = current.worker
    parts.workers.worker_init(worker)
    installation.install_in_worker()
    installation.install_in_pool(worker)
    if current.in_this_thread:
        parts.workers.suppress_in_this_thread()
    consumer = getattr(worker, "consumer", None)
    if consumer is None or not consumer.strategies:
        if current.in_this_thread:
            installation.open_relay(worker)
        return
    _renew_strategies(consumer)
    if consumer.init_callback is None:
        parts.workers.worker_ready(consumer)
    if is_prefork(worker.pool):
        _log.warning(
            "otel_queue_plugins: instrument() was called when the worker's processes had "
            "been started; what runs in them is not traced. Call it where the app is made, "
            "or not later than in worker_init."
        )


def _renew_strategies(consumer: Any) -> None:
    """Make the functions that handle messages anew, except those of tasks with their own."""
    for name, task in list(consumer.app.tasks.items()):
        if task.Strategy == Task.Strategy:
            consumer.strategies[name] = task.start_strategy(consumer.app, consumer)


def _join_pool_process(parts: Parts) -> None:
    parts.workers.worker_process_init()
    is_first = getattr(current_process(), "index", 0) == 0
    if is_first and not os.environ.get("FORKED_BY_MULTIPROCESSING"):
        _log.warning(
            "otel_queue_plugins: instrument() was called in a process of the worker's pool "
            "and not in the one that started it; tasks that are killed, revoked, expired or "
            "unknown are not seen. Call it where the app is made."
        )
