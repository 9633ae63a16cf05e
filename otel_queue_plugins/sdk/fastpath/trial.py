"""The trial of the fast path: some spans and measurements must come out the same both ways."""

from __future__ import annotations

# ruff: noqa: SLF001 - no exporter shows what a span keeps
import re
from functools import cache, partial
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import Link, SpanKind, StatusCode

from otel_queue_plugins.sdk.fastpath import (
    histograms,
    merging,
    span_start,
    span_updates,
    trial_contexts,
)
from otel_queue_plugins.sdk.fastpath.gate import UnexpectedSdkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

_trials: list[Any] = []
_PARENTS = (
    *(trial_contexts.REMOTE, trial_contexts.LOCAL),
    *(trial_contexts.UNSAMPLED, trial_contexts.INVALID),
)
_CONTEXTS = [trial_contexts.context_of(parent) for parent in _PARENTS]
_TIMES = re.compile(r'"(start_)?time_unix_nano": \d+')


def _once(trial: Callable[[], bool]) -> Callable[[], None]:
    """Run `trial` once in a process; each call raises UnexpectedSdkError if it has not passed."""

    @cache
    def difference() -> str:
        try:
            return "" if trial() else "a trial of it came out different"
        except Exception as error:  # noqa: BLE001 - an SDK that differs may raise anything
            return f"its trial failed with {type(error).__name__}: {error}"

    def prove() -> None:
        if reason := difference():
            raise UnexpectedSdkError(reason)

    _trials.append(difference)
    return prove


def forget() -> None:
    """Run each trial once more (for tests)."""
    for trial in _trials:
        trial.cache_clear()


@_once
def prove_spans() -> bool:
    """Raise UnexpectedSdkError unless spans of this SDK come out the same both ways."""
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler

    class OtherSampler(Sampler):
        should_sample = ALWAYS_ON.should_sample
        get_description = ALWAYS_ON.get_description

    return all(_is_equal(sampler) for sampler in (ParentBased(ALWAYS_ON), OtherSampler()))


def _is_equal(sampler: Any) -> bool:
    by_api, by_fast_path = _Tracing(sampler), _Tracing(sampler)
    by_api.record(_Api(by_api.tracer))
    by_fast_path.record(_FastPath(span_start.fast_start(by_fast_path.tracer)))
    return by_api.seen == by_fast_path.seen


class _Api:
    """Spans by the public API."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def begin(self, name: str, context: Context, about: Callable[[], Any]) -> Any:
        return self._tracer.start_span(name, context, SpanKind.CONSUMER, *about(), 1_000)

    def set_attributes(self, span: Any, attributes: dict[str, Any]) -> None:
        span.set_attributes(attributes)

    def add_event(self, span: Any, event: str) -> None:
        span.add_event(event, None, 1_500)


class _FastPath(_Api):
    """Spans by the fast path."""

    def __init__(self, begin_span: Any) -> None:
        self._begin_span = begin_span

    def begin(self, name: str, context: Context, about: Callable[[], Any]) -> Any:
        return self._begin_span(name, context, SpanKind.CONSUMER, about, 1_000)

    def set_attributes(self, span: Any, attributes: dict[str, Any]) -> None:
        if not (span.is_recording() and span_updates.set_attributes(span, attributes)):
            super().set_attributes(span, attributes)

    def add_event(self, span: Any, event: str) -> None:
        if not (span.is_recording() and span_updates.add_event(span, event, 1_500)):
            super().add_event(span, event)


@_once
def prove_measurements() -> bool:
    """Raise UnexpectedSdkError unless measurements of this SDK come out the same both ways."""
    by_api, by_fast_path = _Measuring(), _Measuring()
    record = histograms.fast_record(by_fast_path.histogram)
    return by_api.exported(by_api.histogram.record) == by_fast_path.exported(record)


@_once
def prove_merging() -> bool:
    """Raise UnexpectedSdkError unless values recorded together come out as recorded one by one."""
    usual, merged = _Measuring(), _Measuring()
    fast = merging.fast_merge(merged.histogram)

    def record(value: float, attributes: Any, context: Context) -> None:
        contexts = [_CONTEXTS[1], context, context, context]
        fast.record(value, attributes, context, 1)
        fast.merge([2 * value, 7, value, 7], attributes, [1, 1, 1, 0], lambda i: (contexts[i], 1))

    def record_each(value: float, attributes: Any, context: Context) -> None:
        usual.histogram.record(value, attributes, context)
        usual.histogram.record(2 * value, attributes, _CONTEXTS[1])
        for other in (7, 7, value):
            usual.histogram.record(other, attributes, context)

    return usual.exported(record_each) == merged.exported(record)


class _Tracing:
    """A tracer, and all that its span processor sees of the spans."""

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

    def record(self, way: _Api) -> None:
        """Make spans with everything that a span may have."""
        for parent, context in zip(_PARENTS, _CONTEXTS, strict=True):
            links = [Link(_PARENTS[0], {"a": 1}), Link(parent)][parent.is_remote :]
            attributes = {"text": "a", "number": 1, "share": 0.5, "yes": True}
            span = way.begin("trial", context, partial(_both, attributes, links))
            way.set_attributes(span, {"late": 2, "later": "b"})
            way.set_attributes(span, {"late": 3})
            way.add_event(span, "added")
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
        """What the readers export of some measurements, without the times."""
        exported: list[str] = []
        series: list[dict[str, object]] = [{"b": "x", "a": 1}, {"a": True}, {}]
        for value in (0.0, 0.25, 3):
            for attributes in series:
                record(value, attributes, _CONTEXTS[0])
            read: list[Any] = [reader.get_metrics_data() for reader in self._readers]
            exported += [_TIMES.sub("", data.to_json()) for data in read]
        return exported
