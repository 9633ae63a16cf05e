"""The send side: what a message is told on its way, and what its span says."""

from __future__ import annotations

import dataclasses

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.connection import Connection
from otel_queue_plugins.core.api.context import span_in
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.carrier import envelope
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import Joined, Message
from otel_queue_plugins.core.metrics.templates import RouteTemplate
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.spans import end_attributes, exceptions, ids, relation
from otel_queue_plugins.core.spans.operation import (
    ProcessOperation,
    SendOperation,
    current_delivery,
)


def start_span(
    connection: Connection,
    template: RouteTemplate,
    message: Message,
    context: Context,
    started_ns: int,
) -> Span:
    """The send span of `message`, child of the one in `context`."""

    def about() -> tuple[dict[str, Value], tuple[Link, ...]]:
        attributes = template.send.copy()
        attributes[semconv.MESSAGING_MESSAGE_ID] = bounded(message.id)
        if message.conversation_id is None:
            del attributes[semconv.MESSAGING_CONVERSATION_ID]
        else:
            attributes[semconv.MESSAGING_CONVERSATION_ID] = bounded(message.conversation_id)
        return attributes, ()

    start = connection.begin_span
    if not message.membership:
        return start(template.send_name, context, SpanKind.PRODUCER, about, started_ns)
    if connection.can_choose_ids:
        ids.choose_ids_for_member(span_in(context).get_span_context(), message.membership)
    try:
        return start(template.send_name, context, SpanKind.PRODUCER, about, started_ns)
    finally:
        ids.choose_next_ids(None)


def facts(message: Message, options: Options, span: Span, enqueued_ns: int) -> str:
    """The encoded envelope of a new message, sent under `span`."""
    told = relation.for_message(message, options)
    trigger = None if message.trigger == "call" else message.trigger
    if not (told or trigger or message.eta or message.workflow or message.joins):
        return envelope.encode_time_only(enqueued_ns // 1000)
    joins = _in_trace_of_delivery(message.joins) if message.joins else None
    whole = Envelope(
        enqueued_at=enqueued_ns / 1e9,
        relation=told,
        eta=message.eta,
        trigger=trigger,
        workflow=message.workflow,
        joins=joins,
    )
    return envelope.encode(whole, span.get_span_context())


def facts_of_retry(
    operation: ProcessOperation, enqueued_at: float, eta: float | None
) -> tuple[Context, str]:
    """What a message that is enqueued again carries: its own creation context, and this attempt.

    A message that came without a context gets that of its first attempt.
    """
    incoming = operation.incoming
    creation = incoming.creation
    here = operation.span.get_span_context()
    known = incoming.envelope or Envelope(enqueued_at=operation.delivery.enqueued_at or enqueued_at)
    again = Envelope(
        enqueued_at=enqueued_at,
        relation=known.relation,
        eta=eta,
        first_enqueued_at=known.first_enqueued_at or known.enqueued_at,
        previous=here if here.is_valid else None,
        trigger=known.trigger,
        workflow=known.workflow,
        joins=known.joins,
    )
    context = incoming.context if creation else operation.context
    return context, envelope.encode(again, creation or here)


def facts_of_delay(enqueued_at: float, eta: float) -> str:
    """The encoded envelope of a message that was sent by somebody else, to start at `eta`."""
    return envelope.encode(Envelope(enqueued_at=enqueued_at, eta=eta), None)


def finish(
    connection: Connection,
    operation: SendOperation,
    template: RouteTemplate,
    error: BaseException | None,
    options: Options,
) -> None:
    """Record the end of a send that took until `operation.ended_ns`."""
    try:
        sent = connection.counts.sent
        if error is None:
            series = template.send_success_series(sent)
        else:
            series = template.sent(sent, exceptions.type_name(error))
        sent.add(series.cell)
        seconds = (operation.ended_ns - operation.started_ns) / 1e9
        connection.instruments.record_send_duration(seconds, series.attributes, operation.context)
        if error is not None and operation.span.is_recording():
            _describe(operation, error, options)
    finally:
        operation.span.end(operation.ended_ns)


def _in_trace_of_delivery(joins: Joined) -> Joined | None:
    """`joins` with the trace of its members: where the delivery in progress was sent from."""
    delivery = current_delivery.get()
    creation = delivery.incoming.creation if delivery else None
    if joins.trace_id or creation is None:
        return joins
    return dataclasses.replace(joins, trace_id=creation.trace_id)


def _describe(operation: SendOperation, error: BaseException, options: Options) -> None:
    span, message, kind = operation.span, exceptions.message(error), exceptions.type_name(error)
    described = {
        semconv.EXCEPTION_MESSAGE: message,
        semconv.EXCEPTION_STACKTRACE: exceptions.stacktrace(error),
    }
    span.set_attributes({semconv.ERROR_TYPE: kind, **described})
    span.set_status(Status(StatusCode.ERROR, message))
    exception = {semconv.EXCEPTION_TYPE: kind, **described}
    end_attributes.record_exception(
        span, semconv.LOG_SEND_EXCEPTION, exception, options, operation.ended_ns
    )
