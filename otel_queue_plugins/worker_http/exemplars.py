"""Keep exemplars: the SDK gives each of them to one collection only, and `/stats` is one, too."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from otel_queue_plugins.worker_http.series import Point, WorkerMetrics


class Exemplars:
    """The newest exemplar with a span of each bucket, and of each series without buckets."""

    def __init__(self) -> None:
        self._newest: dict[Any, dict[int, Any]] = {}

    def complete(self, whole: WorkerMetrics) -> None:
        """Give each series the exemplars that it has had so far; forget series that are gone."""
        found: dict[Any, dict[int, Any]] = {}
        for key, metric in whole.metrics.items():
            for attributes, point in metric.points.items():
                series = (key, attributes)
                newest = found[series] = self._newest.get(series, {})
                _update(newest, point)
                point.exemplars = list(newest.values())
        self._newest = found


def value(exemplar: Any) -> float:
    """The value that was measured."""
    is_int = exemplar.WhichOneof("value") == "as_int"
    return float(exemplar.as_int if is_int else exemplar.as_double)


def _update(newest: dict[int, Any], point: Point) -> None:
    for each in point.exemplars:
        bucket = bisect_left(point.bounds, value(each))
        last = newest.get(bucket)
        if each.trace_id and (last is None or last.time_unix_nano <= each.time_unix_nano):
            newest[bucket] = each
