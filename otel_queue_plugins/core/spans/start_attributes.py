"""The attributes that a process span has from its start."""

from __future__ import annotations

import os

from otel_queue_plugins.core import profiles, semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded, int64_or_none
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import NO_WORKFLOW, Delivery, Workflow
from otel_queue_plugins.core.metrics.waiting import Waiting
from otel_queue_plugins.core.route_templates import RouteTemplate

Attributes = dict[str, Value]


def build(
    template: RouteTemplate,
    delivery: Delivery,
    envelope: Envelope | None,
    waited: Waiting,
    started_ns: int,
) -> Attributes:
    """A new dict of what is known of the delivery before the task runs."""
    attributes = template.process_attributes.copy()
    sent_workflow = envelope.workflow if envelope else None
    attributes[semconv.MESSAGING_MESSAGE_ID] = bounded(delivery.id)
    conversation_id = delivery.conversation_id or (
        sent_workflow.id or None if sent_workflow else None
    )
    if conversation_id is not None:
        attributes[semconv.MESSAGING_CONVERSATION_ID] = bounded(conversation_id)
    attributes[semconv.PROCESS_PID] = delivery.worker_pid or os.getpid()
    trigger = delivery.trigger or (envelope.trigger if envelope else None)
    if trigger is not None:
        attributes[semconv.TASK_TRIGGER] = trigger
    if waited.wait is not None:
        attributes[semconv.TASK_WAIT] = waited.wait
        if template.profile:
            attributes.update(profiles.wait_attributes(template.profile, waited.wait))
    if waited.prefetch_wait is not None:
        attributes[semconv.TASK_PREFETCH_WAIT] = waited.prefetch_wait
    if delivery.worker_name is not None:
        attributes[semconv.WORKER_NAME] = delivery.worker_name
    _add_optional(attributes, delivery, waited, started_ns)
    if delivery.workflow or sent_workflow:
        attributes.update(_workflow_attributes(delivery.workflow, sent_workflow))
    return attributes


def _add_optional(
    attributes: Attributes, delivery: Delivery, waited: Waiting, started_ns: int
) -> None:
    if delivery.attempt != 1:
        _add_number(attributes, semconv.TASK_ATTEMPT, delivery.attempt)
    if delivery.priority is not None:
        _add_number(attributes, semconv.TASK_PRIORITY, delivery.priority)
    if waited.scheduled_delay is not None:
        attributes[semconv.TASK_SCHEDULED_DELAY] = waited.scheduled_delay
    if delivery.redelivered:
        attributes[semconv.REDELIVERED] = True
    if delivery.batch is not None and delivery.batch.size is not None:
        attributes[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = delivery.batch.size
    if delivery.expires_at is not None:
        attributes[semconv.TASK_DEADLINE_REMAINING] = delivery.expires_at - started_ns / 1e9


def _add_number(attributes: Attributes, name: str, number: int) -> None:
    """Add `number`; remove the attribute if OTLP cannot encode it."""
    if int64_or_none(number) is None:
        attributes.pop(name, None)
    else:
        attributes[name] = number


def _workflow_attributes(own: Workflow | None, sent: Workflow | None) -> Attributes:
    """The workflow that the framework knows (`own`), with the step from the envelope (`sent`)."""
    workflow = own or sent
    if workflow is None or sent == NO_WORKFLOW:
        return {}
    attributes: Attributes = {semconv.WORKFLOW_KIND: bounded(workflow.kind)}
    if workflow.id:
        attributes[semconv.WORKFLOW_ID] = bounded(workflow.id)
    step = workflow.step
    if step is None and sent and sent.kind == workflow.kind:
        step = sent.step
    if step is not None:
        attributes[semconv.WORKFLOW_STEP] = step
    return attributes
