"""The settle span, for a call by which the worker settles a delivery."""

from __future__ import annotations

from typing import Literal

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
)

from otel_queue_plugins.core import exceptions, semconv
from otel_queue_plugins.core.api.context import with_span
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.carrier.propagation import EMPTY_INCOMING
from otel_queue_plugins.core.connection import Connection
from otel_queue_plugins.core.operation import Operation, ProcessOperation
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.route_templates import RouteTemplate

Settlement = Literal["ack", "nack", "reject"]


class SettleOperation(Operation):
    """One call that settles a delivery. Its span is invalid where the delivery has none."""

    __slots__ = ("span", "started_ns")

    def __init__(
        self,
        span: Span = INVALID_SPAN,
        started_ns: int = 0,
        context: Context = EMPTY_INCOMING.context,
    ) -> None:
        self.context = context
        self._entered = None
        self.span = span
        self.started_ns = started_ns


def open_span(
    connection: Connection,
    template: RouteTemplate,
    operation: ProcessOperation,
    settlement: Settlement,
    started_ns: int,
) -> SettleOperation:
    """Start the settle span, a child of the process span, which may have ended already.

    See the messaging conventions, "Settlement", and OTEP 220: no link is added.
    """
    attributes = template.base_attributes | {
        semconv.MESSAGING_OPERATION_NAME: settlement,
        semconv.MESSAGING_OPERATION_TYPE: "settle",
        semconv.MESSAGING_MESSAGE_ID: bounded(operation.delivery.id),
    }
    envelope = operation.incoming.envelope
    workflow = envelope.workflow if envelope else None
    conversation_id = operation.delivery.conversation_id or (workflow and workflow.id)
    if conversation_id:
        attributes[semconv.MESSAGING_CONVERSATION_ID] = bounded(conversation_id)
    attributes |= operation.correlated or {}
    name = f"{settlement} {bounded(template.route.destination)}"
    parent = operation.context
    span = connection.start_span(name, parent, SpanKind.CLIENT, attributes, (), started_ns)
    return SettleOperation(span, started_ns, with_span(span, parent))


def close_span(
    operation: SettleOperation, error: BaseException | None, options: Options, ended_ns: int
) -> None:
    """End the settle span. An error gets no event, because the framework logs it."""
    if error is not None:
        message = exceptions.message(error, options.redact)
        described = {
            semconv.ERROR_TYPE: exceptions.type_name(error),
            semconv.EXCEPTION_MESSAGE: message,
        }
        operation.span.set_attributes(options.on_span(described))
        operation.span.set_status(Status(StatusCode.ERROR, message))
    operation.span.end(max(ended_ns, operation.started_ns))
