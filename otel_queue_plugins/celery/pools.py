"""Pools of workers: whether they have processes, and how those are started."""

from __future__ import annotations

import sys
from typing import Any, Final

from billiard import get_start_method

from otel_queue_plugins.core.safety import never_raises

PREFORK: Final = "celery.concurrency.prefork"
RUN_BY_MAIN_THREAD: Final = (PREFORK, "celery.concurrency.solo")


def is_prefork(pool: Any) -> bool:
    """Whether `pool` runs tasks in processes of their own, which may die alone."""
    prefork = getattr(sys.modules.get(PREFORK), "TaskPool", ())
    return isinstance(pool, prefork)


def time_limit(task: Any, pool: Any) -> float | None:
    """Return after how many seconds `pool` kills the process of `task`; None if it does not."""
    if not is_prefork(pool):
        return None
    limit = task.time_limit or getattr(pool, "options", {}).get("timeout")
    return limit if isinstance(limit, (int, float)) else None


def pool_module(worker: Any) -> str | None:
    """Return the module of the pool class of `worker`; None before it has one."""
    return getattr(getattr(worker, "pool_cls", None), "__module__", None)


@never_raises(bool)
def will_fork(worker: Any) -> bool:
    """Whether `worker`, whose pool has not started yet, will fork its pool processes."""
    if pool_module(worker) != PREFORK:
        return False
    method = getattr(worker, "pool_start_method", None) or "fork"
    return bool(method == get_start_method() == "fork")
