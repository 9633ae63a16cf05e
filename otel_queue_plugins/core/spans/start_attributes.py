"""What a process span says about its delivery from the start."""

from __future__ import annotations

import os

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded, whole
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import NO_WORKFLOW, Delivery, Workflow
from otel_queue_plugins.core.metrics.templates import RouteTemplate
from otel_queue_plugins.core.metrics.waiting import Waiting

Attributes = dict[str, Value]


def attributes(
    template: RouteTemplate,
    delivery: Delivery,
    facts: Envelope | None,
    waited: Waiting,
    started_ns: int,
) -> Attributes:
    """All that is known of the delivery before it runs, in a new dict."""
    known = template.process.copy()
    told = facts.workflow if facts else None
    known[semconv.MESSAGING_MESSAGE_ID] = bounded(delivery.id)
    conversation_id = delivery.conversation_id or (told.id or None if told else None)
    if conversation_id is not None:
        known[semconv.MESSAGING_CONVERSATION_ID] = bounded(conversation_id)
    known[semconv.PROCESS_PID] = delivery.worker_pid or os.getpid()
    trigger = delivery.trigger or (facts.trigger if facts else None)
    if trigger is not None:
        known[semconv.TASK_TRIGGER] = trigger
    if waited.wait is not None:
        known[semconv.TASK_WAIT] = waited.wait
    if waited.prefetch_wait is not None:
        known[semconv.TASK_PREFETCH_WAIT] = waited.prefetch_wait
    if delivery.worker_name is not None:
        known[semconv.WORKER_NAME] = delivery.worker_name
    _add_rarer(known, delivery, waited, started_ns)
    if delivery.workflow or told:
        known.update(_place(delivery.workflow, told))
    return known


def _add_rarer(known: Attributes, delivery: Delivery, waited: Waiting, started_ns: int) -> None:
    if delivery.attempt != 1:
        _add_number(known, semconv.TASK_ATTEMPT, delivery.attempt)
    if delivery.priority is not None:
        _add_number(known, semconv.TASK_PRIORITY, delivery.priority)
    if waited.scheduled_delay is not None:
        known[semconv.TASK_SCHEDULED_DELAY] = waited.scheduled_delay
    if delivery.redelivered:
        known[semconv.REDELIVERED] = True
    if delivery.batch is not None and delivery.batch.size is not None:
        known[semconv.MESSAGING_BATCH_MESSAGE_COUNT] = delivery.batch.size
    if delivery.expires_at is not None:
        known[semconv.TASK_DEADLINE_REMAINING] = delivery.expires_at - started_ns / 1e9


def _add_number(known: Attributes, name: str, number: int) -> None:
    """Add `number`, unless no exporter could encode it."""
    if whole(number) is None:
        known.pop(name, None)
    else:
        known[name] = number


def _place(known: Workflow | None, told: Workflow | None) -> Attributes:
    """The place in a workflow that the framework knows, with the step that the sender told."""
    workflow = known or told
    if workflow is None or told == NO_WORKFLOW:
        return {}
    place: Attributes = {semconv.WORKFLOW_KIND: bounded(workflow.kind)}
    if workflow.id:
        place[semconv.WORKFLOW_ID] = bounded(workflow.id)
    step = workflow.step
    if step is None and told and told.kind == workflow.kind:
        step = told.step
    if step is not None:
        place[semconv.WORKFLOW_STEP] = step
    return place
