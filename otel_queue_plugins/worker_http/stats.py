"""The object that `/stats` answers, from the states of all processes of a worker."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from operator import add
from platform import python_version
from typing import Any, Final

from otel_queue_plugins.core import semconv
from otel_queue_plugins.sdk.providers import setup
from otel_queue_plugins.version import VERSION
from otel_queue_plugins.worker_http.process_state import ProcessState
from otel_queue_plugins.worker_http.series import WorkerMetrics
from otel_queue_plugins.worker_http.worker import Worker

_WHY_NO_EXPORTS: Final = "the tracer provider is the application's"


class Unknown(dict[str, str]):
    """The reason for each value of the object that is null."""

    def null(self, name: str, why: str | None) -> None:
        """Say why the value of `name` is null."""
        self[name] = why or "not reported"


def stats(worker: Worker, states: Sequence[ProcessState], metrics: WorkerMetrics) -> dict[str, Any]:
    """The object: a value that is not known is null, and `unknown` has the reason."""
    unknown = Unknown()
    why_not = next((each.why_no_metrics for each in states if each.why_no_metrics), None)
    counts = _Counts(metrics, why_not, unknown)
    in_flight, longest = _running(states, counts)
    return {
        "worker": worker.name(),
        "framework": worker.framework,
        "versions": {**_versions(), **worker.versions},
        "pool": worker.pool(),
        "capacity": _sum("capacity", [each.capacity for each in states], unknown),
        "in_flight": in_flight,
        "reserved": _sum("reserved", [each.reserved for each in states], unknown),
        "scheduled": _sum("scheduled", [each.scheduled for each in states], unknown),
        "longest_running_s": longest,
        "processed": counts.by("processed", semconv.CONSUMED_MESSAGES, semconv.TASK_OUTCOME),
        "retries": counts.total("retries", semconv.RETRIES),
        "dead_letters": counts.total("dead_letters", semconv.DEAD_LETTERS),
        "telemetry": _telemetry(states, unknown),
        "captured_at": timestamp(min((each.captured_at for each in states), default=time.time())),
        "unknown": dict(unknown),
    }


def timestamp(seconds: float) -> str:
    """A time since the epoch as RFC 3339 has it."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")


class _Counts:
    """What the metrics have counted; null where a process has none."""

    def __init__(self, metrics: WorkerMetrics, why_not: str | None, unknown: Unknown) -> None:
        self._metrics = metrics
        self._why_not = why_not
        self._unknown = unknown

    def by(
        self, name: str, metric: str, key: str, combine: Callable[[float, float], float] = add
    ) -> dict[str, float] | None:
        if self._why_not:
            self._unknown.null(name, self._why_not)
            return None
        found: dict[str, float] = {}
        for attributes, value in self._metrics.points(metric):
            word = attributes.get(key, "unknown")
            found[word] = combine(found[word], value) if word in found else value
        return {word: found[word] for word in sorted(found) if found[word]}

    def total(self, name: str, metric: str) -> float | None:
        counts = self.by(name, metric, "")
        return None if counts is None else sum(counts.values())


def _running(
    states: Sequence[ProcessState], counts: _Counts
) -> tuple[dict[str, float] | None, float | None]:
    """The number of deliveries in progress by task, and the age of the oldest in seconds."""
    if any(each.running is None for each in states):
        ages = counts.by("longest_running_s", semconv.LONGEST_RUNNING, semconv.TASK_NAME, max)
        by_task = counts.by("in_flight", semconv.IN_FLIGHT, semconv.TASK_NAME)
        return by_task, None if ages is None else max(ages.values(), default=0.0)
    running = [each for state in states for each in state.running or ()]
    number: dict[str, float] = dict(sorted(Counter(task for task, _ in running).items()))
    now = max((each.captured_at for each in states), default=0.0)
    return number, max((max(0.0, now - at) for _, at in running), default=0.0)


def _sum(name: str, values: Iterable[int | None], unknown: Unknown) -> int | None:
    total = 0
    for value in values:
        if value is None:
            unknown.null(name, "not known before the pool has started")
            return None
        total += value
    return total


def _telemetry(states: Sequence[ProcessState], unknown: Unknown) -> dict[str, Any]:
    spans = [each.exported for each in states if each.exported is not None]
    is_known = len(spans) == len(states)
    if not is_known:
        unknown.null("telemetry.exported", _WHY_NO_EXPORTS)
        unknown.null("telemetry.dropped", _WHY_NO_EXPORTS)
    dropped: Counter[str] = Counter()
    for each in states:
        dropped.update(each.dropped)
    last = max((each.last_export_at or 0.0 for each in states), default=0.0)
    if not last:
        unknown.null("telemetry.last_export_ok_at", "nothing was exported by this package yet")
    endpoint = setup.endpoint()
    if endpoint is None:
        unknown.null("telemetry.endpoint", "this package exports nothing over OTLP")
    return {
        "exported": sum(spans) if is_known else None,
        "dropped": dict(dropped) if is_known else None,
        "last_export_ok_at": timestamp(last) if last else None,
        "endpoint": endpoint,
    }


def _versions() -> dict[str, str]:
    found = {"otel_queue_plugins": VERSION, "python": python_version()}
    with suppress(PackageNotFoundError):
        found["opentelemetry-sdk"] = version("opentelemetry-sdk")
    return found
