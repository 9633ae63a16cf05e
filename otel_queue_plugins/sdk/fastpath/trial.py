"""A trial run: a few spans and measurements, made both ways, must come out the same."""

from __future__ import annotations

# ruff: noqa: SLF001 - no exporter shows what a span keeps
import re
from functools import cache, partial
from itertools import count
from types import SimpleNamespace
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

from otel_queue_plugins.sdk.fastpath import histograms, merging, span_additions, span_start
from otel_queue_plugins.sdk.fastpath.gate import DifferentError

if TYPE_CHECKING:
    from collections.abc import Callable

_trials: list[Any] = []
_STATE = TraceState([("vendor", "1")])
_PARENTS = [
    SpanContext(0xA1, 0xB1, is_remote=True, trace_flags=TraceFlags(3), trace_state=_STATE),
    SpanContext(0xA2, 0xB2, is_remote=False, trace_flags=TraceFlags(1)),
    SpanContext(0xA3, 0xB3, is_remote=True, trace_flags=TraceFlags(0)),
    SpanContext(0, 0, is_remote=False),
]
_CONTEXTS = [set_span_in_context(NonRecordingSpan(each), Context()) for each in _PARENTS]
_TIMES = re.compile(r'"(start_)?time_unix_nano": \d+')


def _once(trial: Callable[[], bool]) -> Callable[[], None]:
    """`trial`, run once in the life of a process.

    Raises DifferentError, each time, if it did not pass.
    """

    @cache
    def difference() -> str:
        try:
            return "" if trial() else "a trial of it came out different"
        except Exception as error:  # noqa: BLE001 - whatever differs
            return f"its trial failed with {type(error).__name__}: {error}"

    def prove() -> None:
        if why := difference():
            raise DifferentError(why)

    _trials.append(difference)
    return prove


def forget() -> None:
    """Run each trial once more."""
    for trial in _trials:
        trial.cache_clear()


@_once
def prove_spans() -> bool:
    """Whether spans of this SDK come out the same."""
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler

    class Asked(Sampler):
        should_sample = ALWAYS_ON.should_sample
        get_description = ALWAYS_ON.get_description

    return all(_is_equal(sampler) for sampler in (ParentBased(ALWAYS_ON), Asked()))


def _is_equal(sampler: Any) -> bool:
    usual, direct = _Tracing(sampler), _Tracing(sampler)
    usual.tell(_Usual(usual.tracer))
    direct.tell(_Shortened(span_start.direct(direct.tracer)))
    return usual.seen == direct.seen


class _Usual:
    """The public API."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def begin(self, name: str, context: Context, about: Callable[[], Any]) -> Any:
        return self._tracer.start_span(name, context, SpanKind.CONSUMER, *about(), 1_000)

    def put(self, span: Any, attributes: dict[str, Any]) -> None:
        span.set_attributes(attributes)

    def note(self, span: Any, event: str) -> None:
        span.add_event(event, None, 1_500)


class _Shortened(_Usual):
    """What stands for it."""

    def __init__(self, begin_span: Any) -> None:
        self._begin_span = begin_span

    def begin(self, name: str, context: Context, about: Callable[[], Any]) -> Any:
        return self._begin_span(name, context, SpanKind.CONSUMER, about, 1_000)

    def put(self, span: Any, attributes: dict[str, Any]) -> None:
        if not (span.is_recording() and span_additions.put(span, attributes)):
            super().put(span, attributes)

    def note(self, span: Any, event: str) -> None:
        if not (span.is_recording() and span_additions.note(span, event, 1_500)):
            super().note(span, event)


@_once
def prove_measurements() -> bool:
    """Whether measurements of this SDK come out the same."""
    usual, direct = _Measuring(), _Measuring()
    record = histograms.direct(direct.histogram)
    return usual.exported(usual.histogram.record) == direct.exported(record)


@_once
def prove_merging() -> bool:
    """Whether values that are recorded together come out as if each had been recorded."""
    usual, merged = _Measuring(), _Measuring()
    direct = merging.direct(merged.histogram)

    def record(value: float, attributes: Any, context: Context) -> None:
        contexts = [_CONTEXTS[1], context, context, context]
        direct.record(value, attributes, context, 1)
        direct.merge([2 * value, 7, value, 7], attributes, [1, 1, 1, 0], lambda i: (contexts[i], 1))

    def record_each(value: float, attributes: Any, context: Context) -> None:
        usual.histogram.record(value, attributes, context)
        usual.histogram.record(2 * value, attributes, _CONTEXTS[1])
        for other in (7, 7, value):
            usual.histogram.record(other, attributes, context)

    return usual.exported(record_each) == merged.exported(record)


class _Tracing:
    """A tracer, and all that its span processor sees."""

    def __init__(self, sampler: Any) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider

        self.seen: list[object] = []
        limits = SpanLimits(128, 128, 128, 128, 128, 128, SpanLimits.UNSET, SpanLimits.UNSET)
        ids: Any = SimpleNamespace(
            generate_span_id=count(1).__next__,
            generate_trace_id=count(1).__next__,
            is_trace_id_random=lambda: True,
        )
        provider = TracerProvider(
            sampler=sampler,
            resource=Resource({"service.name": "trial"}),
            shutdown_on_exit=False,
            id_generator=ids,
            span_limits=limits,
            meter_provider=NoOpMeterProvider(),
        )
        processor: Any = SpanProcessor()
        processor.on_start = self._look
        processor.on_end = self._look
        provider.add_span_processor(processor)
        self.tracer: Any = provider.get_tracer("trial", "1")

    def _look(self, span: Any, parent_context: object = None) -> None:
        parts = [vars(each) for each in (span, span._attributes, span._links, span._events)]
        shown = [sorted((name, _shown(part)) for name, part in each.items()) for each in parts]
        self.seen += [span.to_json(), span.context, span.parent, parent_context, shown]

    def tell(self, way: _Usual) -> None:
        for parent, context in zip(_PARENTS, _CONTEXTS, strict=True):
            links = [Link(_PARENTS[0], {"a": 1}), Link(parent)][parent.is_remote :]
            attributes = {"text": "a", "number": 1, "share": 0.5, "yes": True}
            span = way.begin("trial", context, partial(_both, attributes, links))
            way.put(span, {"late": 2, "later": "b"})
            way.put(span, {"late": 3})
            way.note(span, "noted")
            span.set_attribute("odd", [1, 2])
            span.add_event("event", {"b": 2}, 2_000)
            span.set_status(StatusCode.ERROR, "no")
            span.update_name("renamed")
            span.end(3_000)
            self.seen += [type(span), span.get_span_context(), span.is_recording()]


def _both(attributes: object, links: object) -> tuple[object, object]:
    return attributes, links


def _shown(part: object) -> str:
    plain = isinstance(part, (str, int, dict, type(None)))
    return repr(part) if plain else type(part).__name__


class _Measuring:
    """A histogram, and a reader of each temporality."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Histogram, MeterProvider
        from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        delta: Any = {Histogram: AggregationTemporality.DELTA}
        self._readers = [InMemoryMetricReader(), InMemoryMetricReader(delta)]
        provider = MeterProvider(
            self._readers, Resource({}), AlwaysOnExemplarFilter(), shutdown_on_exit=False
        )
        self.histogram: Any = provider.get_meter("trial").create_histogram("trial", "s")

    def exported(self, record: Callable[..., None]) -> list[str]:
        """What the readers read of a few measurements, less the times."""
        exported: list[str] = []
        series: list[dict[str, object]] = [{"b": "x", "a": 1}, {"a": True}, {}]
        for value in (0.0, 0.25, 3):
            for attributes in series:
                record(value, attributes, _CONTEXTS[0])
            read: list[Any] = [reader.get_metrics_data() for reader in self._readers]
            exported += [_TIMES.sub("", data.to_json()) for data in read]
        return exported
