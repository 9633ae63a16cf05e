"""Deliveries that are kept for their ending, though their trace was not sampled."""

from __future__ import annotations

# ruff: noqa: D102 - the methods are the SDK's, and so are their meaning and parameters
import threading
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api import forking
from otel_queue_plugins.core.messages import Outcome
from otel_queue_plugins.core.outcomes import ERRORS
from otel_queue_plugins.sdk.sampling import thresholds
from otel_queue_plugins.sdk.sampling.rules import Keep
from otel_queue_plugins.sdk.sampling.sampler import TaskQueueSampler

MOST_SPANS: Final = 1000
"""So many ended spans wait for the end of their deliveries, and so many open ones are known."""
_NOTHING: Final = Keep()
_ERROR_OUTCOMES: Final = frozenset(outcome.value for outcome in ERRORS)


class _Delivery:
    """An open process span, and the ended spans inside of it. `reason` is "" if it was dropped."""

    __slots__ = ("outer", "reason", "spans")

    def __init__(self, outer: _Delivery | None) -> None:
        self.outer = outer
        self.spans: list[ReadableSpan] = []
        self.reason: str | None = None


class KeepingSpanProcessor(SpanProcessor):
    """Hands kept deliveries to another processor, besides all that is sampled.

    Providers that are set up from `OTEL_*` have one already. With a provider of your own put it
    around the processor that exports:
    `provider.add_span_processor(KeepingSpanProcessor(sampler, BatchSpanProcessor(exporter)))`.

    Args:
        sampler: That of the provider.
        processor: Gets sampled spans, and those that are kept, as if they had been sampled.
    """

    def __init__(self, sampler: TaskQueueSampler, processor: SpanProcessor) -> None:
        self._processor = processor
        self._keep = sampler.keep or _NOTHING
        self._begin()
        forking.call_in_children(self._begin)
        sampler.record_unsampled()

    def _begin(self) -> None:
        """In a forked child: what is open is the parent's."""
        # It may be taken twice: a collection of garbage in here may end a span.
        self._lock = threading.RLock()
        self._open: dict[int, _Delivery] = {}
        self._waiting = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._processor.on_start(span, parent_context)
        context = span.context
        if context is None or context.trace_flags.sampled:
            return
        with self._lock:
            parent = span.parent
            inside = None if parent is None else self._open.get(parent.span_id)
            delivery = _Delivery(inside) if _is_delivery(span) else inside
            if delivery is not None:
                if len(self._open) >= MOST_SPANS:  # some of them will never end
                    del self._open[next(iter(self._open))]
                self._open[context.span_id] = delivery

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is None or context.trace_flags.sampled:
            self._processor.on_end(span)
            return
        with self._lock:
            delivery = self._open.pop(context.span_id, None)
            if _is_delivery(span):
                kept, reason = self._end(span, delivery or _Delivery(None))
            else:
                kept, reason = self._add(span, delivery)
        for each in kept:  # outside of the lock: an exporter may record something itself
            self._processor.on_end(_marked(each, reason))

    def _end(self, span: ReadableSpan, delivery: _Delivery) -> tuple[list[ReadableSpan], str]:
        """A delivery has ended: all of it, or what is inside of another goes to that."""
        delivery.reason = reason = _reason(self._keep, span)
        inside, delivery.spans = delivery.spans, []
        self._waiting -= len(inside)
        if reason:
            return [*inside, span], reason
        if delivery.outer is not None:
            for each in (*inside, span):
                self._add(each, delivery.outer)
        return [], ""

    def _add(
        self, span: ReadableSpan, delivery: _Delivery | None
    ) -> tuple[list[ReadableSpan], str]:
        """A span has ended in a delivery, or after it: then it shares its fate."""
        if delivery is None or delivery.reason is not None:
            reason = delivery.reason if delivery is not None else None
            return ([span], reason) if reason else ([], "")
        if self._waiting < MOST_SPANS:
            self._waiting += 1
            delivery.spans.append(span)
        return [], ""

    def shutdown(self) -> None:
        self._processor.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._processor.force_flush(timeout_millis)


def keeping(sampler: object, processor: Any) -> Any:
    """`processor`, with what `sampler` keeps; as it is if that keeps nothing."""
    if isinstance(sampler, TaskQueueSampler) and sampler.keep is not None:
        return KeepingSpanProcessor(sampler, processor)
    return processor


def _is_delivery(span: ReadableSpan) -> bool:
    return span.kind is SpanKind.CONSUMER and semconv.FRAMEWORK in (span.attributes or ())


def _reason(keep: Keep, span: ReadableSpan) -> str:
    """Why the delivery with this process span is kept; "" if it is not."""
    attributes: Mapping[str, Any] = span.attributes or {}
    outcome = attributes.get(semconv.TASK_OUTCOME)
    is_error = outcome in _ERROR_OUTCOMES and span.status.status_code is StatusCode.ERROR
    if keep.errors and is_error:
        return "error"
    if keep.retries and outcome == Outcome.RETRY.value:
        return "retry"
    took = (span.end_time or 0) - (span.start_time or 0)
    return "slow" if keep.slow_ns is not None and took >= keep.slow_ns else ""


def _marked(span: ReadableSpan, reason: str) -> ReadableSpan:
    """A copy that says why it is here, and that an exporter takes for sampled.

    It has no threshold: it stands for nothing but itself.
    """
    return ReadableSpan(
        name=span.name,
        context=_sampled(span.get_span_context()),
        parent=span.parent,
        resource=span.resource,
        attributes={**(span.attributes or {}), semconv.SAMPLING_REASON: reason},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _sampled(context: SpanContext | None) -> SpanContext | None:
    if context is None:
        return None
    return SpanContext(
        context.trace_id,
        context.span_id,
        is_remote=False,
        trace_flags=TraceFlags(context.trace_flags | TraceFlags.SAMPLED),
        trace_state=thresholds.with_threshold(context.trace_state, None),
    )
