"""When the workflow of a message began, and which chords have failed.

A chain ends with its last step, or with the one that fails. Celery itself counts the members of a
chord, and either sends its body or gives it up. Nobody counts those of a group: a message after
which only a group follows carries no start, and no duration is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from celery._state import get_current_task

from otel_queue_plugins.celery import translation
from otel_queue_plugins.core.messages import Workflow, WorkflowStart
from otel_queue_plugins.core.metrics.workflows import start_of
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.task_names import UNKNOWN, mark_of

_NESTING = "replaced_task_nesting"


def find(
    facts: Mapping[str, Any],
    options: Mapping[str, Any],
    delivery: ProcessOperation | None,
    starts: list[WorkflowStart] | None,
    *,
    goes_on: bool,
) -> WorkflowStart | None:
    """Return the start of the workflow of a message.

    None for its first message, and if nobody will see its end. The message is a further one if it
    is in the place, or in the group, of the task that sends it, or if `goes_on` says so. `starts`
    has the start of a chord once the first message of its header is sent; None outside of a group.
    """
    counted, task = is_counted(options), str(facts.get("task"))
    if starts is not None and not counted:
        return None
    if delivery is not None:
        own, replaced = delivery.delivery.workflow, replaces(facts)
        in_workflow = own or counted or options.get("chain")
        if goes_on or _is_in_chord(own, facts) or (replaced and in_workflow):
            return start_of(delivery)
    if task == translation.UNLOCK_CHORD:  # it is sent before the header, and is no task of the user
        return WorkflowStart(time.time(), UNKNOWN)
    if starts is None:
        return None
    if starts:
        return starts[0]
    starts.append(WorkflowStart(time.time(), mark_of(task)))
    return None


def _is_in_chord(workflow: Workflow | None, facts: Mapping[str, Any]) -> bool:
    """Whether a message is in the same chord as the task that sends it."""
    group = translation.identity(facts.get("group"))
    return bool(workflow and workflow.kind == "chord" and workflow.id == group)


def is_counted(options: Mapping[str, Any]) -> bool:
    """Whether the message with these options, or the last in its chain, is a member of a chord."""
    return translation.is_counted(options.get("chord"), options.get("chain"))


def replaces(facts: Mapping[str, Any]) -> bool:
    """Whether a message takes the place of the task that runs (`Task.replace`)."""
    nesting = facts.get(_NESTING)
    if not isinstance(nesting, int) or nesting <= 0:  # as in nearly every message
        return False
    task = get_current_task()
    if task is None:
        return False
    own = task.request.get(_NESTING)
    return nesting > (own if isinstance(own, int) else 0)


@never_raises(do_nothing)
def set_broken(callback: Any = None, *_: object, **__: object) -> None:
    """Keep on the current delivery that the chord with the body `callback` has failed.

    A chord that is a member of another one says nothing of the whole.
    """
    delivery, options = current_delivery.get(), translation.options_of(callback)
    if delivery is not None and not is_counted(options):
        in_chain = isinstance(options.get("chain"), list) or callback.get("task") == "celery.chain"
        delivery.broken_workflow = "chain" if in_chain else "chord"
