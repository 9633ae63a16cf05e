"""The place of a message in a workflow: group, chord, chain or callback.

Most of it is in Celery's own headers and options: a member of a group has the id of the group and
an index, a step of a chain has the steps that follow, and what Celery sends because a task ended
has that task as explicit parent. The wrappers here remember the rest while Celery sends.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from celery._state import get_current_task

from otel_queue_plugins.celery import steps, translation, workflow_starts
from otel_queue_plugins.celery.steps import Step, arguments, first
from otel_queue_plugins.celery.translation import UNLOCK_CHORD
from otel_queue_plugins.core.messages import (
    NO_WORKFLOW,
    Joined,
    Membership,
    Trigger,
    Workflow,
    WorkflowStart,
)
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.safety import never_raises


class GroupCall(NamedTuple):
    """A call of `group.apply_async`: the id of the outermost group, the size of the innermost one.

    `size` is None if unknown. `starts` is as for `workflow_starts.find`, the same for all
    groups in a group. `of_callbacks` is True for a group that Celery has made of the signatures in
    `link` or `link_error`.
    """

    id: str
    size: int | None
    starts: list[WorkflowStart]
    of_callbacks: bool = False


_joined: Final[ContextVar[Joined | None]] = ContextVar("otel_queue_celery_joined", default=None)
_group_call: Final[ContextVar[GroupCall | None]] = ContextVar(
    "otel_queue_celery_group", default=None
)
failed_request: Final[ContextVar[Any]] = ContextVar("otel_queue_celery_failed", default=None)
"""The request whose errbacks Celery calls now."""


class Place(NamedTuple):
    """Why a message is sent, and which workflow it is a part of."""

    trigger: Trigger = "call"
    workflow: Workflow | None = None
    membership: Membership | None = None
    joins: Joined | None = None
    start: WorkflowStart | None = None


NO_PLACE: Final = Place()


def find_place(
    facts: Mapping[str, Any],
    body: Any,
    options: Mapping[str, Any],
    delivery: ProcessOperation | None,
) -> Place:
    """Return the place of the message that `send_task(..., **options)` makes.

    `facts` and `body` are what Celery has written into it, `delivery` is the delivery that sends
    it, None outside of a task.
    """
    group, chain, name = facts.get("group"), options.get("chain"), facts.get("task")
    group_call, joins = _group_call.get(), _joined.get()
    if not (delivery or group or group_call or name == UNLOCK_CHORD or chain is not None):
        return NO_PLACE
    continues = _is_continuation(options, delivery)
    step = steps.find_step(facts, body, options, delivery, continues=continues, joins=joins)
    workflow = _workflow(step, facts, delivery, group_call, joins)
    trigger: Trigger = "callback" if continues else "call"
    if (workflow and workflow.kind) or joins or (group and not continues):
        trigger = "workflow"
    if name == UNLOCK_CHORD:
        membership = _member(first(arguments(body)), None, group_call)
    else:
        index = _index(facts, options, delivery)
        membership = _member(group, index, group_call)
    goes_on = bool(joins or (step and step.continues) or (workflow and workflow.kind == "chord"))
    starts = group_call and group_call.starts
    start = workflow_starts.find(facts, options, delivery, starts, goes_on=goes_on)
    known = joins and _without_known_id(joins, facts, chain)
    return Place(trigger, workflow, membership, known, start)


def _workflow(
    step: Step | None,
    facts: Mapping[str, Any],
    delivery: ProcessOperation | None,
    group_call: GroupCall | None,
    joins: Joined | None,
) -> Workflow | None:
    if group_call and group_call.of_callbacks:
        return NO_WORKFLOW
    if step:
        return step.workflow
    if joins:
        return None if facts.get("group") else Workflow(kind="chord", id=joins.id)
    envelope = delivery.incoming.envelope if delivery else None
    sent = envelope.workflow if envelope else None
    is_body = sent is not None and sent.kind == "chord"
    return sent if is_body and workflow_starts.replaces(facts) else None


def _without_known_id(joins: Joined, facts: Mapping[str, Any], chain: Any) -> Joined:
    """Return `joins` without its id if the receiver finds that in Celery's own headers."""
    is_known = translation.joined_group(facts, chain) == joins.id
    return Joined(id="", size=joins.size) if is_known else joins


def _is_continuation(options: Mapping[str, Any], delivery: ProcessOperation | None) -> bool:
    """Whether Celery sends a message because a task ended: user code does not send it."""
    if failed_request.get() is not None:
        return True
    if delivery is None:
        return False
    return translation.identity(options.get("parent_id")) == delivery.delivery.id


def _index(
    facts: Mapping[str, Any], options: Mapping[str, Any], delivery: ProcessOperation | None
) -> int | None:
    """Return the index in the header of a chord, by which its body links to this message.

    No two messages may have the same index. So a task that replaces a member has none, nor has the
    last step of a chain in the header, if the step before it was delivered twice.
    """
    index = facts.get("group_index")
    redelivered = delivery is not None and delivery.delivery.redelivered
    if redelivered or not options.get("chord") or facts.get("replaced_task_nesting"):
        return None
    return index if isinstance(index, int) else None


def _member(group: Any, index: int | None, group_call: GroupCall | None) -> Membership | None:
    identity = translation.identity(group) or (group_call and group_call.id)
    if identity is None:
        return None
    return Membership(
        id=identity,
        index=index,
        size=group_call and group_call.size,
        sent_with=group_call and group_call.id,
    )


def _callbacks(options: Mapping[str, Any]) -> Any:
    """Return the callbacks or errbacks that Celery calls now because a task ended."""
    failed, task = failed_request.get(), get_current_task()
    if failed is not None:
        return failed.errbacks or ()
    ended = task and options.get("parent_id") == task.request.id
    return task.request.callbacks or () if ended else ()


def _no_group() -> GroupCall | None:
    return None


def _no_joined() -> Joined | None:
    return None


class Workflows:
    """Wrappers of the functions that send workflows, for what no message carries."""

    def __init__(self, covers: Callable[[Any], bool]) -> None:
        self._covers = covers

    def apply_group(self, wrapped: Any, group: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `group.apply_async`: all messages that it sends belong to one group."""
        token = _group_call.set(self._group_call(group, kwargs))
        try:
            return wrapped(*args, **kwargs)
        finally:
            _group_call.reset(token)

    @never_raises(_no_group)
    def _group_call(self, group: Any, options: dict[str, Any]) -> GroupCall | None:
        outer, tasks = _group_call.get(), group.kwargs.get("tasks")
        given_id = options.get("task_id") or group.options.get("task_id")
        identity = outer.id if outer else translation.identity(given_id)
        size = len(tasks) if isinstance(tasks, (list, tuple)) else None
        of_callbacks = bool(size) and tasks[0] in _callbacks(options)
        starts = outer.starts if outer else []
        return GroupCall(identity or uuid.uuid4().hex, size, starts, of_callbacks)

    def break_chord(self, wrapped: Any, backend: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Backend.chord_error_from_stack(callback, exc)`: the body will not be sent."""
        if self._covers(backend.app):
            workflow_starts.set_broken(*args, **kwargs)
        return wrapped(*args, **kwargs)

    def delay(self, wrapped: Any, signature: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Signature.delay`, by which Celery sends the body of a chord."""
        joined = self._joined(signature, args)
        if joined is None:
            return wrapped(*args, **kwargs)
        token = _joined.set(joined)
        try:
            return wrapped(*args, **kwargs)
        finally:
            _joined.reset(token)

    @never_raises(_no_joined)
    def _joined(self, signature: Any, args: Any) -> Joined | None:
        """Return the header of a chord if `signature` is its body; None for any other `delay`."""
        if current_delivery.get() is None or not isinstance(first(args), list):
            return None
        task = get_current_task()
        if task is None or not self._covers(task.app):
            return None
        request = task.request
        if task.name == UNLOCK_CHORD:
            group, body = first(request.args), request.args[1]
        else:
            group, body = request.group, request.chord
        is_body = body and body["options"].get("task_id") == signature.options.get("task_id")
        identity = translation.identity(group)
        return Joined(id=identity, size=len(args[0])) if is_body and identity is not None else None
