"""How long a workflow took: measured once, by the process that sees its end."""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.connection import Connection
from otel_queue_plugins.core.messages import Ending, Outcome, Part, Workflow, WorkflowStart
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.outcomes import ERRORS, FINAL, SUCCESS
from otel_queue_plugins.core.route_templates import RouteTemplate
from otel_queue_plugins.core.task_names import mark_of

_ORDERED: Final = frozenset({"chain", "pipeline"})
_KINDS: Final = _ORDERED | {"group", "chord"}


def start_of(operation: ProcessOperation) -> WorkflowStart | None:
    """The start of the workflow that a delivery is in; None where the message does not say it.

    The first message of a workflow carries none: its own first enqueue is the start.
    """
    envelope = operation.incoming.envelope
    if envelope is None:
        return None
    start, own = envelope.start, operation.delivery.route.task
    if start is not None:
        return start if start.task else WorkflowStart(start.at, mark_of(own))
    if envelope.workflow is not None and not _is_first(envelope.workflow):
        return None
    return WorkflowStart(envelope.first_enqueued_at or envelope.enqueued_at, mark_of(own))


def record(
    connection: Connection,
    operation: ProcessOperation,
    template: RouteTemplate,
    ending: Ending,
    options: Options,
    ended_ns: int,
) -> None:
    """Record the duration of the workflow that ends with this delivery, if one does."""
    found = _ended(operation, ending.outcome)
    start = start_of(operation) if found else None
    if found is None or start is None:
        return
    kind, outcome = found
    attributes: dict[str, Value] = {
        **template.attributes_for(outcome),
        semconv.WORKFLOW_KIND: kind,
        semconv.TASK_OUTCOME: outcome.value,
    }
    if start.task != mark_of(template.route.task):
        name = connection.task_names.find(start.task)
        attributes.pop(semconv.TASK_NAME, None)
        if name is not None:
            attributes[semconv.TASK_NAME] = bounded(name)
    taken = max(0.0, ended_ns / 1e9 - start.at)
    connection.instruments.workflow_duration.record(
        taken, options.on_metric(attributes), operation.context
    )


def _ended(operation: ProcessOperation, outcome: Outcome) -> tuple[str, Outcome] | None:
    """The kind and the outcome of the workflow that ends with a delivery; None if none does."""
    envelope, delivery = operation.incoming.envelope, operation.delivery
    if envelope is None:
        return None
    kind, part = _kind(envelope, delivery.workflow), delivery.part
    if operation.broken_workflow is not None:
        return operation.broken_workflow, outcome if outcome in ERRORS else Outcome.FAILURE
    if not kind or outcome not in FINAL or part == "member":
        return None
    goes_on = part == "step" and outcome is SUCCESS
    if goes_on or _is_alone(envelope, part) or (operation.was_replaced and outcome not in ERRORS):
        return None
    return kind, outcome


def _kind(envelope: Envelope, known: Workflow | None) -> str:
    """The kind of workflow that a message is a part of; "" without one.

    `known` is what the framework says. A body of a chord may have nothing else. What an envelope
    says is not trusted: a sender could make up any number of kinds, each a series of its own.
    """
    sent = envelope.workflow
    if known is not None and known.kind == "chord" and (sent or envelope.start):
        return known.kind
    return sent.kind if sent and sent.kind in _KINDS else ""


def _is_alone(envelope: Envelope, part: Part | None) -> bool:
    """Whether a message is the first and the last of its workflow, as far as it says.

    Each member of a group that a chain ends with is like that.
    """
    sent = envelope.workflow
    return part is None and sent is not None and sent.kind in _ORDERED and sent.step == 0


def _is_first(workflow: Workflow) -> bool:
    """Whether a message is among the first of its workflow: step 0, or a member of a group."""
    if workflow.kind in _ORDERED:
        return workflow.step == 0
    return workflow.kind == "group" and workflow.step is not None
