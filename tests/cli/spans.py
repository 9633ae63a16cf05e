"""Received spans and points made by hand. Times are milliseconds after `EPOCH_NS`."""

from __future__ import annotations

from typing import Any

from otel_queue_plugins.cli.received import (
    ReceivedEvent,
    ReceivedHistogram,
    ReceivedLink,
    ReceivedPoint,
    ReceivedSpan,
)
from otel_queue_plugins.core import semconv

EPOCH_NS = 1_700_000_000_000_000_000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_MS = 1_000_000


def span(
    span_id: str,
    name: str,
    start: float,
    end: float,
    *,
    parent: str = "",
    trace: str = TRACE,
    kind: str = "internal",
    service: str = "web",
    status: str = "unset",
    events: tuple[ReceivedEvent, ...] = (),
    links: tuple[str, ...] = (),
    **attributes: Any,
) -> ReceivedSpan:
    """A span; `attributes` as `wait=0.1` are those of `taskqueue.task`."""
    return ReceivedSpan(
        service=service,
        resource={"service.name": service},
        scope_name=semconv.SCOPE,
        scope_version="0",
        schema_url=semconv.SCHEMA_URL,
        trace_id=trace,
        span_id=span_id,
        parent_id=parent,
        trace_state="",
        name=name,
        kind=kind,
        start_ns=EPOCH_NS + int(start * _MS),
        end_ns=EPOCH_NS + int(end * _MS),
        status=status,
        status_description="",
        attributes={f"taskqueue.task.{name}": value for name, value in attributes.items()},
        events=events,
        links=tuple(ReceivedLink(trace_id=TRACE, span_id=to, attributes={}) for to in links),
    )


def process(
    span_id: str, task: str, start: float, end: float, outcome: str, **more: Any
) -> ReceivedSpan:
    """A process span of a worker."""
    defaults: dict[str, Any] = {"kind": "consumer", "service": "worker", "outcome": outcome}
    return span(span_id, f"process {task}", start, end, **(defaults | more))


def event(name: str, at: float, **attributes: Any) -> ReceivedEvent:
    """A span event; attribute names with `__` for `.`, as in `error__type`."""
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    return ReceivedEvent(name=name, time_ns=EPOCH_NS + int(at * _MS), attributes=named)


def counted(
    name: str,
    value: float,
    *,
    service: str = "worker",
    temporality: str = "cumulative",
    kind: str = "sum",
    instance: str = "1",
    **attributes: Any,
) -> ReceivedPoint:
    """A point of a counter or gauge; `task` and `outcome` are the attributes of that name."""
    return _point(name, kind, value, None, service, temporality, instance, attributes)


def distributed(
    name: str, buckets: dict[float, int], *, total: float, **attributes: Any
) -> ReceivedPoint:
    """A point of a histogram; `buckets` are counts by upper bound, the last one is unbounded."""
    histogram = ReceivedHistogram(
        count=sum(buckets.values()),
        sum=total,
        bounds=tuple(buckets)[:-1],
        bucket_counts=tuple(buckets.values()),
    )
    return _point(name, "histogram", None, histogram, "worker", "cumulative", "1", attributes)


def _point(
    name: str,
    kind: str,
    value: float | None,
    histogram: ReceivedHistogram | None,
    service: str,
    temporality: str,
    instance: str,
    attributes: dict[str, Any],
) -> ReceivedPoint:
    names = {"task": semconv.TASK_NAME, "outcome": semconv.TASK_OUTCOME}
    return ReceivedPoint(
        service=service,
        resource={"service.name": service, "service.instance.id": instance},
        scope_name=semconv.SCOPE,
        schema_url=semconv.SCHEMA_URL,
        name=name,
        unit="s" if histogram else "{message}",
        description="",
        kind=kind,
        monotonic=kind == "sum",
        temporality=temporality,
        attributes={names.get(key, key): value for key, value in attributes.items()},
        value=value,
        histogram=histogram,
        start_ns=EPOCH_NS,
        time_ns=EPOCH_NS,
        exemplars=(),
    )
