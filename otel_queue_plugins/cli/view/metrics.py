"""The data points of a run added up: one line per instrument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from otel_queue_plugins.cli.received import ReceivedHistogram, ReceivedPoint
from otel_queue_plugins.core import semconv

Series = tuple[str, frozenset[tuple[str, str]], frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One instrument over all processes.

    `parts` is the value (of a histogram: the count) by what tells most: the outcome, else the task.
    """

    name: str
    unit: str
    kind: str
    value: float | None
    histogram: ReceivedHistogram | None
    series: int
    parts: Mapping[str, float]


def latest(points: Iterable[ReceivedPoint]) -> list[ReceivedPoint]:
    """One point per series and process: the last one of those that count from a fixed start."""
    found: dict[object, ReceivedPoint] = {}
    for number, point in enumerate(points):
        series: object = (point.name, _key(point.resource), _key(point.attributes))
        found[number if point.temporality == "delta" else series] = point
    return list(found.values())


def summaries(points: Iterable[ReceivedPoint]) -> list[Summary]:
    """What the instruments of this package say, by name, messages before worker gauges."""
    by_name: dict[str, list[ReceivedPoint]] = {}
    for point in latest(points):
        if point.scope_name == semconv.SCOPE:
            by_name.setdefault(point.name, []).append(point)
    found = [_summary(points) for points in by_name.values()]
    return sorted(found, key=lambda each: (each.kind == "gauge", each.name))


def total(points: Iterable[ReceivedPoint], name: str) -> float:
    """The sum over all series of a counter, or the count of a histogram."""
    return sum(_amount(point) for point in latest(points) if point.name == name)


def _summary(points: list[ReceivedPoint]) -> Summary:
    first = points[0]
    parts: dict[str, float] = {}
    for point in points:
        part = _part(point)
        parts[part] = parts.get(part, 0) + _amount(point)
    histograms = [point.histogram for point in points if point.histogram]
    return Summary(
        name=first.name,
        unit=first.unit,
        kind=first.kind,
        value=None if histograms else sum(parts.values()),
        histogram=_added(histograms) if histograms else None,
        series=len({_key(point.attributes) for point in points}),
        parts=dict(sorted(parts.items(), key=lambda part: (-part[1], part[0]))),
    )


def _added(histograms: list[ReceivedHistogram]) -> ReceivedHistogram:
    return ReceivedHistogram(
        count=sum(each.count for each in histograms),
        sum=sum(each.sum for each in histograms),
        bounds=histograms[0].bounds,
        bucket_counts=tuple(
            sum(counts)
            for counts in zip(*(each.bucket_counts for each in histograms), strict=False)
        ),
    )


def _part(point: ReceivedPoint) -> str:
    for name in (semconv.TASK_OUTCOME, semconv.TASK_NAME, semconv.DROP_REASON):
        if name in point.attributes:
            return str(point.attributes[name])
    return point.service


def _amount(point: ReceivedPoint) -> float:
    return point.histogram.count if point.histogram else point.value or 0


def _key(attributes: Mapping[str, object]) -> frozenset[tuple[str, str]]:
    return frozenset(_texts(attributes))


def _texts(attributes: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    return ((name, str(value)) for name, value in attributes.items())
