"""The metrics of all processes of a worker, added up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_queue_plugins.core import semconv
from otel_queue_plugins.sdk import instance_id

Kind = Literal["counter", "gauge", "histogram"]
Attributes = tuple[tuple[str, str], ...]

_SUMMED_GAUGES: Final = {
    *(semconv.IN_FLIGHT, semconv.CAPACITY, semconv.RESERVED),
    *(semconv.SCHEDULED, semconv.QUEUE_CONSUMERS),
}
_VALUES: Final = ("string_value", "bool_value", "int_value", "double_value")


@dataclass(slots=True, kw_only=True)
class Point:
    """The value of one series. `bounds` and `buckets` are those of a histogram."""

    value: float
    count: int = 0
    bounds: tuple[float, ...] = ()
    buckets: list[int] = field(default_factory=list)
    exemplars: list[Any] = field(default_factory=list)

    def add(self, other: Point) -> None:
        """Add the same series of another process."""
        self.value += other.value
        self.count += other.count
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.exemplars += other.exemplars


@dataclass(slots=True, kw_only=True)
class Metric:
    """One metric of one scope."""

    name: str
    unit: str
    description: str
    kind: Kind
    scope: Attributes
    points: dict[Attributes, Point] = field(default_factory=dict)

    def add(self, attributes: Attributes, point: Point, pid: int | None) -> None:
        """Add the point of a process; `pid` is None for the only one."""
        if pid is not None and self._differs(attributes, point):
            attributes = tuple(sorted((*attributes, (semconv.PROCESS_PID, str(pid)))))
        same = self.points.get(attributes)
        if same is None:
            self.points[attributes] = point
        elif self.name == semconv.LONGEST_RUNNING:
            same.value = max(same.value, point.value)
        else:
            same.add(point)

    def _differs(self, attributes: Attributes, point: Point) -> bool:
        """Whether the sum over processes would mean nothing."""
        if self.kind == "gauge":
            return self.name not in _SUMMED_GAUGES and self.name != semconv.LONGEST_RUNNING
        same = self.points.get(attributes)
        return same is not None and same.bounds != point.bounds


@dataclass(slots=True, kw_only=True)
class WorkerMetrics:
    """All metrics, and the attributes of the resource that all processes have in common."""

    resource: dict[str, str] = field(default_factory=dict)
    metrics: dict[tuple[str, str, Kind, Attributes], Metric] = field(default_factory=dict)

    def points(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """The attributes and the value of each series of a metric, whatever its scope."""
        for metric in self.metrics.values():
            if metric.name == name:
                for attributes, point in metric.points.items():
                    yield dict(attributes), point.value


def add_up(requests: Iterable[tuple[int, bytes]]) -> WorkerMetrics:
    """Add up the `ExportMetricsServiceRequest` of each process, given by its pid."""
    parsed = [(pid, ExportMetricsServiceRequest.FromString(each)) for pid, each in requests if each]
    whole = WorkerMetrics()
    resources: list[Attributes] = []
    for pid, request in parsed:
        for number, of_resource in enumerate(request.resource_metrics):
            resource = _attributes(of_resource.resource.attributes)
            # What follows without an instance is of the service: of no process, like queue depth.
            is_of_process = number == 0 or instance_id.KEY in dict(resource)
            if is_of_process:
                resources.append(resource)
            for of_scope in of_resource.scope_metrics:
                _add_scope(whole, of_scope, pid if is_of_process and len(parsed) > 1 else None)
    common = set.intersection(*map(set, resources)) if resources else set()
    whole.resource = dict(sorted(common))
    return whole


def _add_scope(whole: WorkerMetrics, of_scope: Any, pid: int | None) -> None:
    scope = _scope(of_scope)
    for each in of_scope.metrics:
        kind, data = _kind(each)
        if kind is None:
            continue
        metric = Metric(
            name=each.name, unit=each.unit, description=each.description, kind=kind, scope=scope
        )
        metric = whole.metrics.setdefault((each.name, each.unit, kind, scope), metric)
        for point in data.data_points:
            metric.add(_attributes(point.attributes), _point(point, kind), pid)


def _kind(metric: Any) -> tuple[Kind | None, Any]:
    """None for what the text format cannot express: exponential histograms."""
    data = metric.WhichOneof("data")
    if data == "sum":
        return ("counter" if metric.sum.is_monotonic else "gauge"), metric.sum
    if data == "gauge":
        return "gauge", metric.gauge
    return ("histogram", metric.histogram) if data == "histogram" else (None, None)


def _point(point: Any, kind: Kind) -> Point:
    exemplars = list(point.exemplars)
    if kind == "histogram":
        return Point(
            value=point.sum,
            count=point.count,
            bounds=tuple(point.explicit_bounds),
            buckets=list(point.bucket_counts),
            exemplars=exemplars,
        )
    is_int = point.WhichOneof("value") == "as_int"
    return Point(value=point.as_int if is_int else point.as_double, exemplars=exemplars)


def _scope(of_scope: Any) -> Attributes:
    scope = of_scope.scope
    own = (
        ("name", scope.name),
        ("version", scope.version),
        ("schema_url", of_scope.schema_url),
        *_attributes(scope.attributes),
    )
    return tuple((f"otel_scope_{name}", value) for name, value in own if value)


def _attributes(pairs: Iterable[Any]) -> Attributes:
    return tuple(sorted((pair.key, _text(_value(pair.value))) for pair in pairs))


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, which) if which in _VALUES else None


def _text(value: Any) -> str:
    """As OpenTelemetry's specification writes the values of attributes that are no strings."""
    return value if isinstance(value, str) else json.dumps(value)
