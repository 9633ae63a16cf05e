"""A trial run: one span and a few measurements, made both ways, must come out the same."""

from __future__ import annotations

# ruff: noqa: SLF001 - parts of spans are compared that no exporter shows
import logging
import re
from functools import cache, wraps
from itertools import count
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otel_queue_plugins.sdk.shortcuts import histograms, spans

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("otel_queue_plugins")

_FAR = SpanContext(0xA1, 0xB2, True, TraceFlags(3), TraceState([("vendor", "1")]))
_NEAR = SpanContext(0xC3, 0xD4, False, TraceFlags(1))
_UNSAMPLED = SpanContext(0xE5, 0xF6, True, TraceFlags(0))
_TIMES = re.compile(r'"(start_)?time_unix_nano": \d+')


def _once(trial: Callable[[], bool]) -> Callable[[], bool]:
    @cache
    @wraps(trial)
    def passed() -> bool:
        try:
            if trial():
                return True
            logger.debug("%s: not equal, using the public API", trial.__name__)
        except Exception:
            logger.debug("%s: failed, using the public API", trial.__name__, exc_info=True)
        return False

    return passed


@_once
def spans_are_equal() -> bool:
    """Whether spans of this SDK come out the same. Tried once in the life of a process."""
    usual, direct = _tracer(), _tracer()
    start_span = spans.direct(direct)
    if start_span is None:
        return False
    return _story(usual.start_span, _set) == _story(start_span, spans.put)


@_once
def measurements_are_equal() -> bool:
    """Whether measurements of this SDK come out the same. Tried once in the life of a process."""
    usual, direct = _Meters(), _Meters()
    record = histograms.direct(direct.histogram)
    if record is None:
        return False
    return usual.exported(usual.histogram.record) == direct.exported(record)


def _set(span: Any, attributes: Any) -> None:
    span.set_attributes(attributes)


class _Ids:
    """Ids that are the same in every run."""

    def __init__(self) -> None:
        self._next = count(1)

    def generate_span_id(self) -> int:
        return next(self._next)

    def generate_trace_id(self) -> int:
        return next(self._next)

    def is_trace_id_random(self) -> bool:
        return True


def _tracer() -> Any:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

    limits = SpanLimits(128, 128, 128, 128, 128, 128, SpanLimits.UNSET, SpanLimits.UNSET)
    ids: Any = _Ids()
    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_ON),
        resource=Resource({"service.name": "trial"}),
        shutdown_on_exit=False,
        id_generator=ids,
        span_limits=limits,
        meter_provider=NoOpMeterProvider(),
    )
    return provider.get_tracer("trial", "1")


def _story(start_span: Callable[..., Any], put: Callable[..., None]) -> list[object]:
    """Everything that is to be seen of a few spans."""
    seen: list[object] = []
    for parent in (None, _FAR, _NEAR, _UNSAMPLED):
        context = set_span_in_context(NonRecordingSpan(parent), Context()) if parent else Context()
        links = [Link(_NEAR), Link(_FAR)] if parent else [Link(_FAR, {"a": 1})]
        attributes = {"text": "a", "number": 1, "share": 0.5, "yes": True}
        span = start_span("trial", context, SpanKind.CONSUMER, attributes, links, 1_000)
        seen += [type(span), span.get_span_context(), span.is_recording()]
        if not span.is_recording():
            continue
        put(span, {"late": 2, "later": "b"})
        put(span, {"late": 3})
        span.set_attribute("odd", [1, 2])
        span.add_event("event", {"b": 2}, 2_000)
        span.set_status(StatusCode.ERROR, "no")
        span.update_name("renamed")
        span.end(3_000)
        span.set_attribute("after", 1)
        seen += [span._readable_span().to_json(), span.parent, sorted(_types(span))]
    return seen


def _types(span: Any) -> list[tuple[str, str]]:
    parts = vars(span) | {f"attributes.{k}": v for k, v in vars(span._attributes).items()}
    return [(name, type(value).__name__) for name, value in parts.items()]


class _Meters:
    """A provider with a reader of each kind, and its histogram."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Histogram, MeterProvider
        from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        delta = {Histogram: AggregationTemporality.DELTA}
        self._readers = [InMemoryMetricReader(), InMemoryMetricReader(delta)]
        provider = MeterProvider(
            self._readers, Resource({}), AlwaysOnExemplarFilter(), shutdown_on_exit=False
        )
        self.histogram: Any = provider.get_meter("trial").create_histogram("trial", "s")

    def exported(self, record: Callable[..., None]) -> list[str]:
        """What the readers read, less the times."""
        context = set_span_in_context(NonRecordingSpan(_FAR), Context())
        seen: list[str] = []
        series: list[dict[str, object]] = [{"b": "x", "a": 1}, {"a": True}, {}]
        for value in (0.0, 0.25, 3, -1.0):
            for attributes in series:
                record(value, attributes, context)
            data: list[Any] = [reader.get_metrics_data() for reader in self._readers]
            seen += [_TIMES.sub("", each.to_json()) if each else "" for each in data]
        return seen
