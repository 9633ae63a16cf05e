"""The process span: open it, refer to one of another process, and end it."""

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

from otel_queue_plugins.core import relation, semconv
from otel_queue_plugins.core.api.context import with_span
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.carrier import ids
from otel_queue_plugins.core.carrier.propagation import Incoming
from otel_queue_plugins.core.connection import Connection
from otel_queue_plugins.core.messages import Delivery, Ending
from otel_queue_plugins.core.metrics import deliveries, waiting
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.route_templates import RouteTemplate
from otel_queue_plugins.core.spans import batch, end_attributes, start_attributes

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


def open_span(
    connection: Connection,
    template: RouteTemplate,
    delivery: Delivery,
    incoming: Incoming,
    options: Options,
    started_ns: int,
    correlated: dict[str, Value] | None,
) -> ProcessOperation:
    """Start the process span of `delivery`, without making it current.

    `correlated` are more attributes; None if correlation is off.
    """
    waited = waiting.measure(delivery, incoming.envelope, started_ns / 1e9)
    related = relation.for_delivery(incoming, waited, options)
    parent, is_root = incoming.context, incoming.creation is None
    if related != "child" and not is_root:
        parent, is_root = with_span(INVALID_SPAN, parent), True

    def describe() -> tuple[dict[str, Value], list[Link]]:
        envelope = incoming.envelope
        attributes = start_attributes.build(template, delivery, envelope, waited, started_ns)
        if correlated is not None:
            attributes.update(correlated)
        links = relation.links(incoming, related, delivery.joins)
        if delivery.batch is not None:
            links = batch.add_batch_links(links, delivery.batch)
        return attributes, links

    chosen = delivery.span_id if connection.can_choose_ids else None
    if chosen is not None:
        ids.choose_next_ids(chosen, ids.trace_id_of(chosen) if is_root else None)
    try:
        name = template.process_name
        span = connection.begin_span(name, parent, SpanKind.CONSUMER, describe, started_ns)
    finally:
        if chosen is not None:
            ids.choose_next_ids(None)
    context = with_span(span, parent)
    operation = ProcessOperation(delivery, incoming, waited, context, template, span, started_ns)
    operation.correlated = correlated
    return operation


def reference_span(
    connection: Connection,
    template: RouteTemplate,
    delivery: Delivery,
    incoming: Incoming,
    options: Options,
    started_at: float | None,
) -> ProcessOperation:
    """The context that `open_span` makes in another process, without the span itself.

    Where the id of that span is not known, the creation context takes its place.
    """
    waited = waiting.measure(delivery, incoming.envelope, started_at or time.time())
    context, chosen = incoming.context, delivery.span_id
    if chosen is not None and connection.can_choose_ids:
        span = SpanContext(ids.trace_id_of(chosen), chosen, is_remote=True, trace_flags=_SAMPLED)
        creation = incoming.creation
        if creation and relation.for_delivery(incoming, waited, options) == "child":
            flags, state = creation.trace_flags, creation.trace_state
            span = SpanContext(creation.trace_id, chosen, True, flags, state)  # noqa: FBT003 - remote
        context = with_span(NonRecordingSpan(span), context)
    operation = ProcessOperation(delivery, incoming, waited, context, template)
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
    """Measure the delivery, then end its span: exemplars need the span open."""
    try:
        deliveries.record(connection, operation, template, ending, options, ended_ns)
        if operation.span.is_recording():
            if options.events == "all" and operation.delivery.received_at is not None:
                received_ns = int(operation.delivery.received_at * 1e9)
                connection.add_event(operation.span, semconv.EVENT_RECEIVED, received_ns)
            connection.set_attributes(
                operation.span, end_attributes.describe_ending(operation, ending, options, ended_ns)
            )
    finally:
        operation.span.end(ended_ns)
        connection.counts.hand_over()  # counts and measurements; spans go their own way
