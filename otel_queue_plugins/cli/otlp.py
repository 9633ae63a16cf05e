"""OTLP protobuf messages turned into the facts of `received`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from otel_queue_plugins.cli.received import (
    Attributes,
    ReceivedEvent,
    ReceivedExemplar,
    ReceivedHistogram,
    ReceivedLink,
    ReceivedLog,
    ReceivedPoint,
    ReceivedSpan,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.metrics.v1.metrics_pb2 import (
        Exemplar,
        ExponentialHistogramDataPoint,
        HistogramDataPoint,
        Metric,
        NumberDataPoint,
    )
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_SPAN_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_TEMPORALITIES = ("", "delta", "cumulative")


class _Where(NamedTuple):
    """What all that one scope of one resource has sent shares."""

    resource: Attributes
    scope_name: str
    scope_version: str
    schema_url: str

    @property
    def service(self) -> str:
        return str(self.resource.get("service.name", ""))


def read_spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    """Every span of an export request, in wire order."""
    for span, where in _items(request.resource_spans, "scope_spans", "spans"):
        yield _span(span, where)


def read_points(request: ExportMetricsServiceRequest) -> Iterator[ReceivedPoint]:
    """Every data point of an export request, in wire order."""
    for metric, where in _items(request.resource_metrics, "scope_metrics", "metrics"):
        yield from _points(metric, where)


def read_logs(request: ExportLogsServiceRequest) -> Iterator[ReceivedLog]:
    """Every log record of an export request, in wire order."""
    for record, where in _items(request.resource_logs, "scope_logs", "log_records"):
        yield _log(record, where)


def _items(groups: Iterable[Any], scopes: str, items: str) -> Iterator[tuple[Any, _Where]]:
    """What was sent, each with where it comes from: `items` in `scopes` of each resource."""
    for group in groups:
        resource = _attributes(group.resource.attributes)
        for scoped in getattr(group, scopes):
            scope, schema_url = scoped.scope, scoped.schema_url or group.schema_url
            where = _Where(resource, scope.name, scope.version, schema_url)
            for item in getattr(scoped, items):
                yield item, where


def _span(span: Span, where: _Where) -> ReceivedSpan:
    return ReceivedSpan(
        service=where.service,
        resource=where.resource,
        scope_name=where.scope_name,
        scope_version=where.scope_version,
        schema_url=where.schema_url,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        trace_state=span.trace_state,
        name=span.name,
        kind=_SPAN_KINDS[span.kind],
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=_STATUSES[span.status.code],
        status_description=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(
            ReceivedEvent(
                name=event.name,
                time_ns=event.time_unix_nano,
                attributes=_attributes(event.attributes),
            )
            for event in span.events
        ),
        links=tuple(
            ReceivedLink(
                trace_id=link.trace_id.hex(),
                span_id=link.span_id.hex(),
                attributes=_attributes(link.attributes),
            )
            for link in span.links
        ),
    )


def _points(metric: Metric, where: _Where) -> Iterator[ReceivedPoint]:
    kind = metric.WhichOneof("data")
    if kind is None or kind == "summary":
        return
    data: Any = getattr(metric, kind)
    for point in data.data_points:
        is_histogram = kind.endswith("histogram")
        yield ReceivedPoint(
            service=where.service,
            resource=where.resource,
            scope_name=where.scope_name,
            schema_url=where.schema_url,
            name=metric.name,
            unit=metric.unit,
            description=metric.description,
            kind=kind,
            monotonic=kind == "sum" and data.is_monotonic,
            temporality="" if kind == "gauge" else _TEMPORALITIES[data.aggregation_temporality],
            attributes=_attributes(point.attributes),
            value=None if is_histogram else _number(point),
            histogram=_histogram(point) if is_histogram else None,
            start_ns=point.start_time_unix_nano,
            time_ns=point.time_unix_nano,
            exemplars=tuple(_exemplar(exemplar) for exemplar in point.exemplars),
        )


def _histogram(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> ReceivedHistogram:
    return ReceivedHistogram(
        count=point.count,
        sum=point.sum,
        bounds=tuple(getattr(point, "explicit_bounds", ())),
        bucket_counts=tuple(getattr(point, "bucket_counts", ())),
    )


def _exemplar(exemplar: Exemplar) -> ReceivedExemplar:
    return ReceivedExemplar(
        value=_number(exemplar),
        time_ns=exemplar.time_unix_nano,
        trace_id=exemplar.trace_id.hex(),
        span_id=exemplar.span_id.hex(),
        attributes=_attributes(exemplar.filtered_attributes),
    )


def _log(record: LogRecord, where: _Where) -> ReceivedLog:
    return ReceivedLog(
        service=where.service,
        resource=where.resource,
        scope_name=where.scope_name,
        time_ns=record.time_unix_nano or record.observed_time_unix_nano,
        severity=record.severity_text,
        body=_value(record.body),
        event_name=record.event_name,
        attributes=_attributes(record.attributes),
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
    )


def _number(point: NumberDataPoint | Exemplar) -> float:
    return point.as_int if point.WhichOneof("value") == "as_int" else point.as_double


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
