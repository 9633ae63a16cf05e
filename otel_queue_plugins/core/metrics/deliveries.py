"""The counts and measurements of one delivery that has ended."""

from __future__ import annotations

from otel_queue_plugins.core import exceptions, semconv
from otel_queue_plugins.core.bounds import MAX_TEXT
from otel_queue_plugins.core.connection import Connection
from otel_queue_plugins.core.messages import Ending, Outcome
from otel_queue_plugins.core.metrics import objectives, workflows
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.outcomes import ERRORS, FINAL, SUCCESS, cancellation, error_type
from otel_queue_plugins.core.route_templates import RouteTemplate


def record(
    connection: Connection,
    operation: ProcessOperation,
    template: RouteTemplate,
    ending: Ending,
    options: Options,
    ended_ns: int,
) -> None:
    """Count the delivery and record its durations, with its span for exemplars."""
    instruments, waited, context = connection.instruments, operation.waiting, operation.context
    consumed = connection.counts.consumed
    if ending.outcome is SUCCESS:
        series = template.process_success_series(consumed)
        attributes = template.metric_attributes
    else:
        attributes = template.attributes_for(ending.outcome)
        series = template.process_series(consumed, ending.outcome, error_type(ending))
    consumed.add(series.cell, operation.delivery.span_id)
    seconds = (ended_ns - operation.started_ns) / 1e9
    instruments.record_process_duration(seconds, series.attributes, context)
    if waited.wait is not None:
        instruments.record_wait(waited.wait, attributes, context)
    if instruments.prefetch_wait and waited.prefetch_wait is not None:
        instruments.prefetch_wait.record(waited.prefetch_wait, attributes, context)
    if ending.outcome is not SUCCESS or instruments.completion:
        _record_ending(connection, operation, template, ending, options, ended_ns)
    if instruments.slo_deliveries:
        objectives.record(
            instruments.slo_deliveries, operation, template, ending, options, ended_ns
        )
    envelope, delivery = operation.incoming.envelope, operation.delivery
    if delivery.workflow or delivery.part or (envelope and envelope.workflow):
        workflows.record(connection, operation, template, ending, options, ended_ns)
    is_first = delivery.attempt == 1
    if is_first and waited.wait is not None and _trigger(operation) == "schedule":
        instruments.drift.record(waited.wait, attributes, context)


def _record_ending(
    connection: Connection,
    operation: ProcessOperation,
    template: RouteTemplate,
    ending: Ending,
    options: Options,
    ended_ns: int,
) -> None:
    instruments, context = connection.instruments, operation.context
    route, envelope = template.attributes_for(ending.outcome), operation.incoming.envelope
    if instruments.completion and envelope and ending.outcome in FINAL:
        since = envelope.first_enqueued_at or envelope.enqueued_at
        taken = max(0.0, ended_ns / 1e9 - since)
        final = {**route, semconv.TASK_OUTCOME: ending.outcome.value}
        instruments.completion.record(taken, options.on_metric(final), context)
    is_retry_of_error = ending.outcome is Outcome.RETRY and ending.error is not None
    if connection.report_failure and (ending.outcome in ERRORS or is_retry_of_error):
        connection.report_failure(template.base_attributes)
    if ending.outcome is Outcome.RETRY:
        kind = exceptions.type_name(ending.error) if ending.error else "retry"
        instruments.retries.add(1, {**route, semconv.ERROR_TYPE: kind}, context)
    if ending.outcome is Outcome.DEAD_LETTER or ending.dead_letter_queue is not None:
        dead = {**route, semconv.DEAD_LETTER_REASON: _dead_letter_reason(ending, options)}
        instruments.dead_letters.add(1, options.on_metric(dead), context)
    scope = cancellation(ending)
    if scope:
        cancelled = {**route, semconv.CANCELLATION_SCOPE: scope}
        instruments.cancellations.add(1, options.on_metric(cancelled), context)


def _dead_letter_reason(ending: Ending, options: Options) -> str:
    # The reason of a reject or a skip may differ for each message: too many series.
    if ending.outcome is Outcome.DEAD_LETTER:
        return options.redact.head(ending.reason or "unknown", MAX_TEXT)
    return str(ending.outcome.value)


def _trigger(operation: ProcessOperation) -> str | None:
    envelope = operation.incoming.envelope
    return operation.delivery.trigger or (envelope.trigger if envelope else None)
