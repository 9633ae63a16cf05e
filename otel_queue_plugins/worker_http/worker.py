"""The facts about a worker that only its framework knows, and how an adapter passes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Phase = Literal["starting", "running", "stopping"]


class Loop(NamedTuple):
    """A loop that takes messages from the broker.

    Args:
        name: What an operator calls it.
        turned_at: When it has turned last (`time.monotonic()`); None where it need not turn now,
            because it is paused or waits for the broker.
        consumes: Whether it takes messages now.
    """

    name: str
    turned_at: float | None
    consumes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """How to ask one process of a worker. Each function may be called from any thread.

    Attributes:
        framework: `celery` or `dramatiq`.
        versions: The versions of the framework and of what it needs.
        name: Returns the name of the worker.
        pool: Returns the kind of its pool; None if it is not known yet.
        phase: Returns how far it has come.
        loops: Returns its loops; none before it has any.
        capacity: Returns how many tasks it can run at once; None if unknown.
        reserved: Returns how many messages it holds without running them; None if unknown.
        scheduled: Returns how many messages it holds that are not due yet; None if unknown.
        running: Returns the task and the start of each delivery in progress, in seconds since the
            epoch; None where the gauges of the metrics are all there is.
        tracer_provider: Returns the provider that spans of this process go to.
        meter_provider: Returns the provider that measurements of this process go to.
        has_pool_processes: Returns whether tasks run in processes that this one has started.
        has_siblings: Whether other processes of the worker, with the same parent, do the same.
    """

    framework: str
    versions: Mapping[str, str]
    name: Callable[[], str]
    pool: Callable[[], str | None]
    phase: Callable[[], Phase]
    loops: Callable[[], Iterable[Loop]]
    capacity: Callable[[], int | None]
    reserved: Callable[[], int | None]
    scheduled: Callable[[], int | None]
    running: Callable[[], list[tuple[str, float]]] | None
    tracer_provider: Callable[[], Any]
    meter_provider: Callable[[], Any]
    has_pool_processes: Callable[[], bool]
    has_siblings: bool
