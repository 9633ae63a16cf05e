"""The send span: open it, and end it with the error of the broker call if there is one."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from otel_queue_plugins.core import exceptions, semconv
from otel_queue_plugins.core.api.context import span_in
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.carrier import ids
from otel_queue_plugins.core.connection import Connection
from otel_queue_plugins.core.messages import Message
from otel_queue_plugins.core.operation import SendOperation
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.route_templates import RouteTemplate


def open_span(
    connection: Connection,
    template: RouteTemplate,
    message: Message,
    context: Context,
    started_ns: int,
    correlated: dict[str, Value] | None,
) -> Span:
    """Start the send span of `message`, a child of the span in `context`.

    `correlated` are more attributes; None if correlation is off.
    """

    def describe() -> tuple[dict[str, Value], tuple[Link, ...]]:
        attributes = template.send_attributes.copy()
        attributes[semconv.MESSAGING_MESSAGE_ID] = bounded(message.id)
        if message.conversation_id is None:
            del attributes[semconv.MESSAGING_CONVERSATION_ID]
        else:
            attributes[semconv.MESSAGING_CONVERSATION_ID] = bounded(message.conversation_id)
        if correlated is not None:
            attributes.update(correlated)
        return attributes, ()

    begin_span = connection.begin_span
    if not message.membership:
        return begin_span(template.send_name, context, SpanKind.PRODUCER, describe, started_ns)
    if connection.can_choose_ids:
        ids.choose_ids_for_member(span_in(context).get_span_context(), message.membership)
    try:
        return begin_span(template.send_name, context, SpanKind.PRODUCER, describe, started_ns)
    finally:
        ids.choose_next_ids(None)


def close_span(
    connection: Connection,
    operation: SendOperation,
    template: RouteTemplate,
    error: BaseException | None,
    options: Options,
) -> None:
    """Count and time the send, then end its span at `operation.ended_ns`."""
    try:
        sent = connection.counts.sent
        if error is None:
            series = template.send_success_series(sent)
        else:
            series = template.send_series(sent, exceptions.type_name(error))
            if connection.report_failure:
                connection.report_failure(template.send_attributes)
        sent.add(series.cell)
        seconds = (operation.ended_ns - operation.started_ns) / 1e9
        connection.instruments.record_send_duration(seconds, series.attributes, operation.context)
        if error is not None and operation.span.is_recording():
            _describe_error(operation, error, options)
    finally:
        operation.span.end(operation.ended_ns)


def _describe_error(operation: SendOperation, error: BaseException, options: Options) -> None:
    span, kind = operation.span, exceptions.type_name(error)
    message = exceptions.message(error, options.redact)
    described = {
        semconv.EXCEPTION_MESSAGE: message,
        semconv.EXCEPTION_STACKTRACE: exceptions.stacktrace(error, redaction=options.redact),
    }
    span.set_attributes(options.on_span({semconv.ERROR_TYPE: kind, **described}))
    span.set_status(Status(StatusCode.ERROR, message))
    exception = {semconv.EXCEPTION_TYPE: kind, **described}
    exceptions.record(span, semconv.LOG_SEND_EXCEPTION, exception, options, operation.ended_ns)
