"""Refuse exporters that are scraped at a port in a process that is one of several.

All processes would want the same port. One gets it, and its numbers look like those of all; the
others fail. A worker needs none of them: it shows the metrics of all its processes at one port.
"""

from __future__ import annotations

import errno
import multiprocessing.process
from functools import cache
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk import instance_id
from otel_queue_plugins.sdk.shared_memory import LOST, Claim

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.sdk.config.reader import Environment

SCRAPED: Final = frozenset({"prometheus"})
_REMEDY: Final = (
    "let each process send: OTEL_METRICS_EXPORTER=otlp, to a collector that Prometheus scrapes, or "
    "to Prometheus itself (--web.enable-otlp-receiver)"
)
_reporter: Final = Claim()


class _Siblings:
    """How to find out whether this process, or one forked from it, is one of several."""

    __slots__ = ("check",)

    def __init__(self) -> None:
        self.check: Callable[[], bool | None] = lambda: None


_siblings: Final = _Siblings()


def set_siblings_check(are_there: Callable[[], bool | None]) -> None:
    """Use `are_there` from now on to find out whether several processes do the same work.

    It is called only for an exporter that is scraped. If it returns None, this is no worker, and a
    process counts as one of several when it was forked or spawned.
    """
    _siblings.check = cache(are_there)


def is_worker() -> bool:
    """Whether this is a process of a worker."""
    return _siblings.check() is not None


def remove_scraped(
    environment: Environment, variable: str, names: tuple[str, ...]
) -> tuple[str, ...]:
    """The exporters in `names` that this process can have; one process reports the others.

    In a worker there is nothing to report: its metrics are served by `worker_http`.
    """
    refused = SCRAPED.intersection(names)
    if not refused or not (is_worker() or instance_id.is_child()):
        return names
    if not is_worker() and _is_first() and _reporter.is_mine():
        what = ", ".join(sorted(refused))
        environment.reject(
            variable,
            f"{what} would show one of several processes here and call it all of them; {_REMEDY}",
            *(["metrics"] if refused.issuperset(names) else []),
        )
    return tuple(name for name in names if name not in refused)


def _is_first() -> bool:
    """Whether this process may report: the first of spawned siblings, which share no memory."""
    if not (LOST.is_first_process() and instance_id.has_parent()):
        return True
    return multiprocessing.process.current_process().name.endswith(("-1", ":1"))


def describe(error: Exception) -> str:
    """One line about an exporter that could not be built, with the remedy for a port in use."""
    text = without_secrets(f"{type(error).__name__}: {error}")
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{text}; another process has this port. If it is of the same application, {_REMEDY}"
    return text
