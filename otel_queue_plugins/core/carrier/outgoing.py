"""The envelope of a message that is enqueued: by user code, again, or by a foreign sender."""

from __future__ import annotations

import dataclasses

from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_queue_plugins.core import relation
from otel_queue_plugins.core.carrier import envelope
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import Joined, Message, WorkflowStart
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.task_names import mark_of


def of_message(message: Message, options: Options, span: Span, enqueued_ns: int) -> str:
    """Encode the envelope of a new message, sent under `span`."""
    wanted_relation = relation.for_message(message, options)
    trigger = None if message.trigger == "call" else message.trigger
    plain = not (wanted_relation or trigger or message.eta or message.workflow or message.joins)
    if plain and message.start is None:
        return envelope.encode_time_only(enqueued_ns // 1000)
    joins = _in_trace_of_delivery(message.joins) if message.joins else None
    outgoing = Envelope(
        enqueued_at=enqueued_ns / 1e9,
        relation=wanted_relation,
        eta=message.eta,
        trigger=trigger,
        workflow=message.workflow,
        joins=joins,
        start=_short(message.start, message.route.task) if message.start else None,
    )
    return envelope.encode(outgoing, span.get_span_context())


def of_retry(
    operation: ProcessOperation, enqueued_at: float, eta: float | None
) -> tuple[Context, str]:
    """The context and the encoded envelope of a message that is enqueued again.

    The context is the creation context; a message that came without one gets that of its first
    attempt. The envelope names the span of this attempt.
    """
    incoming = operation.incoming
    creation = incoming.creation
    attempt = operation.span.get_span_context()
    before = incoming.envelope or Envelope(
        enqueued_at=operation.delivery.enqueued_at or enqueued_at
    )
    again = Envelope(
        enqueued_at=enqueued_at,
        relation=before.relation,
        eta=eta,
        first_enqueued_at=before.first_enqueued_at or before.enqueued_at,
        previous=attempt if attempt.is_valid else None,
        trigger=before.trigger,
        workflow=before.workflow,
        joins=before.joins,
        start=before.start,
    )
    context = incoming.context if creation else operation.context
    return context, envelope.encode(again, creation or attempt)


def of_delay(enqueued_at: float, eta: float) -> str:
    """Encode the envelope of a delayed message whose sender wrote none."""
    return envelope.encode(Envelope(enqueued_at=enqueued_at, eta=eta), None)


def _short(start: WorkflowStart, task: str) -> WorkflowStart:
    """`start` without the task, where that is the task of the message itself."""
    return WorkflowStart(start.at, "") if start.task == mark_of(task) else start


def _in_trace_of_delivery(joins: Joined) -> Joined | None:
    """`joins` with the trace of its members: the one that the current delivery was sent in."""
    delivery = current_delivery.get()
    creation = delivery.incoming.creation if delivery else None
    if joins.trace_id or creation is None:
        return joins
    return dataclasses.replace(joins, trace_id=creation.trace_id)
