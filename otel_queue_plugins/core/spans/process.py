"""The process side: open the span of a delivery, and record how it ended."""

from __future__ import annotations

import time
from typing import Final

from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
)

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.connection import Connection
from otel_queue_plugins.core.api.context import with_span
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import valid_text
from otel_queue_plugins.core.carrier.propagation import Incoming
from otel_queue_plugins.core.messages import Delivery, Ending, Outcome
from otel_queue_plugins.core.metrics import waiting
from otel_queue_plugins.core.metrics.templates import RouteTemplate
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.spans import (
    batch,
    end_attributes,
    exceptions,
    ids,
    relation,
    start_attributes,
)
from otel_queue_plugins.core.spans.operation import ProcessOperation

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


def open_span(
    connection: Connection,
    template: RouteTemplate,
    delivery: Delivery,
    incoming: Incoming,
    options: Options,
    started_ns: int,
) -> ProcessOperation:
    """The delivery with its span open; nothing is current yet."""
    waited = waiting.of(delivery, incoming.envelope, started_ns / 1e9)
    related = relation.for_delivery(incoming, waited, options)
    parent, root = incoming.context, incoming.creation is None
    if related != "child" and not root:
        parent, root = with_span(INVALID_SPAN, parent), True

    def about() -> tuple[dict[str, Value], list[Link]]:
        facts = incoming.envelope
        attributes = start_attributes.attributes(template, delivery, facts, waited, started_ns)
        links = relation.links(incoming, related, delivery.joins)
        if delivery.batch is not None:
            links = batch.add_batch_links(links, delivery.batch)
        return attributes, links

    chosen = delivery.span_id if connection.can_choose_ids else None
    if chosen is not None:
        ids.choose_next_ids(chosen, ids.trace_id_of(chosen) if root else None)
    try:
        name = template.process_name
        span = connection.begin_span(name, parent, SpanKind.CONSUMER, about, started_ns)
    finally:
        if chosen is not None:
            ids.choose_next_ids(None)
    context = with_span(span, parent)
    return ProcessOperation(delivery, incoming, waited, context, template, span, started_ns)


def reference_span(
    connection: Connection,
    delivery: Delivery,
    incoming: Incoming,
    options: Options,
    started_at: float | None,
) -> ProcessOperation:
    """What `open_span` makes of the same facts elsewhere, without the span itself.

    Where its id is not known, the creation context stands for it.
    """
    waited = waiting.of(delivery, incoming.envelope, started_at or time.time())
    context, chosen = incoming.context, delivery.span_id
    if chosen is not None and connection.can_choose_ids:
        here = SpanContext(ids.trace_id_of(chosen), chosen, is_remote=True, trace_flags=_SAMPLED)
        creation = incoming.creation
        if creation and relation.for_delivery(incoming, waited, options) == "child":
            flags, state = creation.trace_flags, creation.trace_state
            here = SpanContext(creation.trace_id, chosen, True, flags, state)  # noqa: FBT003 - remote
        context = with_span(NonRecordingSpan(here), context)
    operation = ProcessOperation(delivery, incoming, waited, context)
    operation.ended = True
    return operation


def close_span(
    connection: Connection,
    operation: ProcessOperation,
    template: RouteTemplate,
    ending: Ending,
    options: Options,
    ended_ns: int,
) -> None:
    """Record the end of the delivery: metrics first, so that exemplars find the span open."""
    try:
        _measure(connection, operation, template, ending, ended_ns)
        if operation.span.is_recording():
            if options.events == "all" and operation.delivery.received_at is not None:
                received_ns = int(operation.delivery.received_at * 1e9)
                connection.add_event(operation.span, semconv.EVENT_RECEIVED, received_ns)
            connection.set_attributes(
                operation.span, end_attributes.describe_ending(operation, ending, options, ended_ns)
            )
    finally:
        operation.span.end(ended_ns)
        connection.counts.hand_over()  # what has no span to leave with


def _measure(
    connection: Connection,
    operation: ProcessOperation,
    template: RouteTemplate,
    ending: Ending,
    ended_ns: int,
) -> None:
    instruments, waited, context = connection.instruments, operation.waiting, operation.context
    consumed = connection.counts.consumed
    if ending.outcome is end_attributes.SUCCESS:
        series = template.process_success_series(consumed)
    else:
        series = template.consumed(consumed, ending.outcome, end_attributes.error_type(ending))
    consumed.add(series.cell, operation.delivery.span_id)
    seconds = (ended_ns - operation.started_ns) / 1e9
    instruments.record_process_duration(seconds, series.attributes, context)
    if waited.wait is not None:
        instruments.record_wait(waited.wait, template.base, context)
    if instruments.prefetch_wait and waited.prefetch_wait is not None:
        instruments.prefetch_wait.record(waited.prefetch_wait, template.base, context)
    if ending.outcome is not end_attributes.SUCCESS or instruments.completion:
        _measure_rarer(connection, operation, template, ending, ended_ns)
    first = operation.delivery.attempt == 1
    if first and waited.wait is not None and _trigger(operation) == "schedule":
        instruments.drift.record(waited.wait, template.base, context)


def _measure_rarer(
    connection: Connection,
    operation: ProcessOperation,
    template: RouteTemplate,
    ending: Ending,
    ended_ns: int,
) -> None:
    instruments, context, base = connection.instruments, operation.context, template.base
    facts = operation.incoming.envelope
    if instruments.completion and facts and ending.outcome in end_attributes.FINAL:
        since = facts.first_enqueued_at or facts.enqueued_at
        taken = max(0.0, ended_ns / 1e9 - since)
        final = {**base, semconv.TASK_OUTCOME: ending.outcome.value}
        instruments.completion.record(taken, final, context)
    if ending.outcome is Outcome.RETRY:
        kind = exceptions.type_name(ending.error) if ending.error else "retry"
        instruments.retries.add(1, {**base, semconv.ERROR_TYPE: kind}, context)
    if ending.outcome is Outcome.DEAD_LETTER or ending.dead_letter_queue is not None:
        dead = {**base, semconv.DEAD_LETTER_REASON: _why_dead(ending)}
        instruments.dead_letters.add(1, dead, context)
    scope = end_attributes.cancellation(ending)
    if scope:
        cancelled = {**base, semconv.CANCELLATION_SCOPE: scope}
        instruments.cancellations.add(1, cancelled, context)


def _why_dead(ending: Ending) -> str:
    """One of few words: a reject's or a skip's own reason may differ for each message."""
    if ending.outcome is Outcome.DEAD_LETTER:
        return valid_text(ending.reason or "unknown")
    return str(ending.outcome.value)


def _trigger(operation: ProcessOperation) -> str | None:
    facts = operation.incoming.envelope
    return operation.delivery.trigger or (facts.trigger if facts else None)
