"""The send side: what a message is told on its way, and what its span says."""

from __future__ import annotations

import dataclasses

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span

from otel_queue_plugins.core import ending, envelope, errors, identity, relation, semconv
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.connection import Connection
from otel_queue_plugins.core.envelope import Envelope
from otel_queue_plugins.core.messages import Joined, Message
from otel_queue_plugins.core.operation import ProcessOperation, SendOperation, current_delivery
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.prepared import Prepared


def start_span(
    connection: Connection, prepared: Prepared, message: Message, started_ns: int
) -> Span:
    """The send span of `message`, child of the current one."""
    attributes = prepared.send.copy()
    attributes[semconv.MESSAGING_MESSAGE_ID] = bounded(message.id)
    if message.conversation_id is not None:
        attributes[semconv.MESSAGING_CONVERSATION_ID] = bounded(message.conversation_id)
    if message.membership and connection.chooses_ids:
        here = get_current_span().get_span_context()
        identity.choose_for_member(here, message.membership)
    try:
        return connection.start_span(
            prepared.send_name, None, SpanKind.PRODUCER, attributes, (), started_ns
        )
    finally:
        if message.membership:
            identity.choose(None)


def facts(message: Message, options: Options, span: Span, enqueued_ns: int) -> str:
    """The encoded envelope of a new message, sent under `span`."""
    told = relation.of_message(message, options)
    trigger = None if message.trigger == "call" else message.trigger
    if not (told or trigger or message.eta or message.workflow or message.joins):
        return envelope.now_only(enqueued_ns // 1000)
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


def finish(
    connection: Connection,
    operation: SendOperation,
    prepared: Prepared,
    error: BaseException | None,
    options: Options,
) -> None:
    """Record the end of a send that took until `operation.ended_ns`."""
    try:
        kind = None if error is None else errors.type_name(error)
        series = prepared.sent(connection.counts.sent, kind)
        connection.counts.sent.add(series.cell)
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
    span, message, kind = operation.span, errors.message(error), errors.type_name(error)
    described = {
        semconv.EXCEPTION_MESSAGE: message,
        semconv.EXCEPTION_STACKTRACE: errors.stacktrace(error),
    }
    span.set_attributes({semconv.ERROR_TYPE: kind, **described})
    span.set_status(Status(StatusCode.ERROR, message))
    exception = {semconv.EXCEPTION_TYPE: kind, **described}
    ending.record_exception(
        span, semconv.LOG_SEND_EXCEPTION, exception, options, operation.ended_ns
    )
