"""Metrics that are scraped from a process: they cannot be had from one of several.

Each process would answer at the same port. One of them gets it and shows its own numbers for those
of all; the others fail.
"""

from __future__ import annotations

import errno
import multiprocessing.process
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk.process.shared_memory import LOST, Claim
from otel_queue_plugins.sdk.providers import instance_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.sdk.config.environment import Reading

SCRAPED: Final = frozenset({"prometheus"})
_REMEDY: Final = (
    "let each process send: OTEL_METRICS_EXPORTER=otlp, to a collector that Prometheus scrapes, or "
    "to Prometheus itself (--web.enable-otlp-receiver)"
)
_speaker: Final = Claim()


class _Process:
    """What is known of the siblings of this process, and of those forked from it."""

    __slots__ = ("ask",)

    def __init__(self) -> None:
        self.ask: Callable[[], bool | None] = lambda: None


_known: Final = _Process()


def know_siblings(are_there: Callable[[], bool | None]) -> None:
    """From now on `are_there` says whether several processes do the work of this one.

    It is asked only where metrics are scraped. None: a process that was forked has siblings.
    """
    _known.ask = are_there


def without_scraped(reading: Reading, variable: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those exporters in `names` that this process can have; of the others one process speaks."""
    refused = SCRAPED.intersection(names)
    if not refused or not _has_siblings():
        return names
    if _is_first() and _speaker.is_mine():
        what = ", ".join(sorted(refused))
        reading.reject(
            variable,
            f"{what} would show one of several processes here and call it all of them; {_REMEDY}",
            *(["metrics"] if refused.issuperset(names) else []),
        )
    return tuple(name for name in names if name not in refused)


def _has_siblings() -> bool:
    known = _known.ask()
    return instance_id.is_child() if known is None else known


def _is_first() -> bool:
    """False in all but the first of siblings that share no memory through which one could speak."""
    if not (LOST.is_kept_here() and instance_id.has_parent()):
        return True
    return multiprocessing.process.current_process().name.endswith(("-1", ":1"))


def words(error: Exception) -> str:
    """One line about an exporter that could not be built; a port that is taken has a remedy."""
    said = without_secrets(f"{type(error).__name__}: {error}")
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{said}; another process has this port. If it is of the same application, {_REMEDY}"
    return said
