"""The metrics of a worker in the text formats that Prometheus reads."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST as TEXT_TYPE
from prometheus_client.exposition import generate_latest as text_of
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from otel_queue_plugins.worker_http import exemplars as exemplars_of
from otel_queue_plugins.worker_http import prometheus_names
from otel_queue_plugins.worker_http.series import Metric, Point, WorkerMetrics

_log = logging.getLogger("otel_queue_plugins")

_TARGET: Final = "target"


def write(worker: WorkerMetrics, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, for the `Accept` header of a request.

    OpenMetrics, which alone has exemplars, unless only the older text format is accepted.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(list(families(worker))))
    if "text/plain" in accept and "openmetrics" not in accept:
        return text_of(registry), TEXT_TYPE
    write_openmetrics: Any = openmetrics.generate_latest
    return write_openmetrics(registry), openmetrics.CONTENT_TYPE_LATEST


class _Families(Collector):
    def __init__(self, found: list[Family]) -> None:
        self._found = found

    def collect(self) -> Iterable[Family]:
        """What prometheus_client writes."""
        return self._found

    def describe(self) -> Iterable[Family]:
        """Nothing: the registry has only this collector."""
        return ()


def families(worker: WorkerMetrics) -> Iterator[Family]:
    """One family for each name; a metric whose name has another type already is left out."""
    made: dict[str, Family] = {}
    if worker.resource:
        made[_TARGET] = Family(_TARGET, "The resource of the worker", "info")
        target = prometheus_names.labels(worker.resource.items())
        made[_TARGET].add_sample(f"{_TARGET}_info", target, 1)
    for metric in worker.metrics.values():
        name, unit = prometheus_names.family(metric.name, metric.unit, metric.kind)
        if name not in made:
            made[name] = Family(name, metric.description, metric.kind, unit)
        if made[name].type != metric.kind:
            _log.debug("/metrics leaves %s out: there is another metric %s", metric.name, name)
            continue
        for attributes, point in metric.points.items():
            _add(made[name], metric, prometheus_names.labels((*attributes, *metric.scope)), point)
    yield from made.values()


def _add(family: Any, metric: Metric, labels: dict[str, str], point: Point) -> None:
    if metric.kind == "histogram":
        _add_histogram(family, labels, point)
    elif metric.kind == "counter":
        exemplar = _latest(point.exemplars)
        family.add_sample(f"{family.name}_total", labels, point.value, exemplar=exemplar)
    else:
        family.add_sample(family.name, labels, point.value)


def _add_histogram(family: Any, labels: dict[str, str], point: Point) -> None:
    bounds = [*map(floatToGoString, point.bounds), "+Inf"]
    by_bucket: dict[int, list[Any]] = {}
    for each in point.exemplars:
        by_bucket.setdefault(bisect_left(point.bounds, exemplars_of.value(each)), []).append(each)
    for index, count in enumerate(accumulate(point.buckets or [point.count])):
        family.add_sample(
            f"{family.name}_bucket",
            {**labels, "le": bounds[index]},
            count,
            exemplar=_latest(by_bucket.get(index, [])),
        )
    family.add_sample(f"{family.name}_count", labels, point.count)
    family.add_sample(f"{family.name}_sum", labels, point.value)


def _latest(exemplars: Iterable[Any]) -> Exemplar | None:
    """The newest one: OpenMetrics allows one for a sample."""
    newest = max(exemplars, key=lambda each: each.time_unix_nano, default=None)
    if newest is None:
        return None
    ids = {"trace_id": newest.trace_id.hex(), "span_id": newest.span_id.hex()}
    return Exemplar(ids, exemplars_of.value(newest), newest.time_unix_nano / 1e9)
