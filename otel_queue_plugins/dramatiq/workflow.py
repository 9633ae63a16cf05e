"""The place of a message in a workflow: pipeline, group or callback.

A message does not say that it belongs to a group, so `group.run` is patched: what is sent while it
runs is a member.
"""

from __future__ import annotations

import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dramatiq import __version__

from otel_queue_plugins.core.messages import (
    Joined,
    Membership,
    Part,
    Trigger,
    Workflow,
    WorkflowStart,
)
from otel_queue_plugins.core.metrics.workflows import start_of
from otel_queue_plugins.core.patching import TakeBack, apply
from otel_queue_plugins.core.task_names import mark_of
from otel_queue_plugins.dramatiq import message_options, patches

if TYPE_CHECKING:
    from dramatiq import Broker, group

    from otel_queue_plugins.dramatiq.delivery_state import DeliveryState


class Place(NamedTuple):
    """Why a message is sent, and which workflow it is a part of."""

    trigger: Trigger = "call"
    workflow: Workflow | None = None
    membership: Membership | None = None
    joins: Joined | None = None
    start: WorkflowStart | None = None


class RunningGroup:
    """A group whose members `group.run` is sending, one after another.

    `start` is when it sent the first one, and what for; None before that.
    """

    __slots__ = ("id", "next_index", "size", "start")

    def __init__(self, size: int) -> None:
        self.id = uuid.uuid4().hex
        self.size = size
        self.next_index = 0
        self.start: WorkflowStart | None = None


_current_group: Final[ContextVar[RunningGroup | None]] = ContextVar(
    "otel_queue_dramatiq_group", default=None
)
NO_PLACE: Final = Place()
_SCHEDULED_AT: Final = "scheduled_at"  # an option of the messages of periodiq's scheduler
_traced: Final[weakref.WeakSet[Broker]] = weakref.WeakSet()
_undo: Final[list[TakeBack]] = []


def trace_groups(broker: Broker) -> None:
    """Record the groups of `broker` from now on."""
    _traced.add(broker)
    if not _undo:
        _undo.extend(apply(patches.of_groups(_run), __version__))


def stop_tracing_groups(broker: Broker) -> None:
    """Stop recording the groups of `broker`; with the last broker `group.run` is put back."""
    _traced.discard(broker)
    while _undo and not _traced:
        _undo.pop()()


def is_traced(broker: Broker) -> bool:
    """Whether a middleware of ours is in charge of `broker`."""
    return broker in _traced


def _run(
    run: Callable[..., group], members: group, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> group:
    """Wrap `group.run(...)`."""
    if not is_traced(members.broker):
        return run(*args, **kwargs)
    with _sending_group(members), _with_size_on_callbacks(members):
        return run(*args, **kwargs)


@contextmanager
def _sending_group(members: group) -> Iterator[None]:
    """Record the messages that are sent inside this block as members of a group."""
    token = _current_group.set(RunningGroup(len(members.children)))
    try:
        yield
    finally:
        _current_group.reset(token)


@contextmanager
def _with_size_on_callbacks(members: group) -> Iterator[None]:
    """Add the size of the group to its completion callbacks, while they are being sent."""
    callbacks, size = members.completion_callbacks, len(members.children)
    try:
        members.completion_callbacks = [
            message_options.with_group_size(callback, size) for callback in callbacks
        ]
        yield
    finally:
        members.completion_callbacks = callbacks


def find_place(message: Any, state: DeliveryState | None) -> Place:
    """Return the place of `message`. `state` is the current delivery; None outside of one."""
    if state is not None:
        place = _place_within_delivery(message, state)
        if place is not None:
            return place
    running_group = _current_group.get()
    piped = isinstance(message.options.get("pipe_target"), dict)
    if running_group is None and _SCHEDULED_AT in message.options:
        return Place(trigger="schedule", workflow=_first_step(message) if piped else None)
    if running_group is None:
        return Place(workflow=_first_step(message)) if piped else NO_PLACE
    membership = _next_member(message, running_group)
    workflow = Workflow(kind="group", id=membership.id, step=membership.index)
    return Place(
        workflow=_first_step(message) if piped else workflow,
        membership=membership,
        start=_start_of_group(message, running_group),
    )


def _place_within_delivery(message: Any, state: DeliveryState) -> Place | None:
    source = state.message
    target = source.options.get("pipe_target")
    if _id_of(target) == message.message_id:
        start = start_of(state.operation)
        return Place(trigger="workflow", workflow=_next_step(state), start=start)
    if source.message_id == message.message_id:
        workflow = _workflow_of(state)
        return Place(workflow=workflow, start=start_of(state.operation) if workflow else None)
    if message.args and _id_of(message.args[0]) == source.message_id:
        return Place(trigger="callback")
    callbacks = source.options.get("group_completion_callbacks")
    if callbacks and any(_id_of(each) == message.message_id for each in callbacks):
        place = _place_of_callback(message, source.options.get("group_completion_uuid"))
        is_last = _id_of(callbacks[-1]) == message.message_id
        return place._replace(start=start_of(state.operation)) if is_last else place
    return None


def _id_of(data: object) -> object:
    return data.get("message_id") if isinstance(data, Mapping) else None


def _first_step(message: Any) -> Workflow:
    return Workflow(kind="pipeline", id=str(message.message_id), step=0)


def _workflow_of(state: DeliveryState) -> Workflow | None:
    envelope = state.operation.incoming.envelope
    return envelope.workflow if envelope else None


def _next_step(state: DeliveryState) -> Workflow:
    workflow = _workflow_of(state)
    if workflow is None or workflow.kind != "pipeline":
        return Workflow(kind="pipeline", id=str(state.message.message_id), step=1)
    return Workflow(kind="pipeline", id=workflow.id, step=(workflow.step or 0) + 1)


def _next_member(message: Any, running_group: RunningGroup) -> Membership:
    identity = _completion_id(message.options) or running_group.id
    index, running_group.next_index = running_group.next_index, running_group.next_index + 1
    return Membership(id=identity, index=index, size=running_group.size)


def _start_of_group(message: Any, running_group: RunningGroup) -> WorkflowStart | None:
    """The start of a group whose end a callback shows; None for its first message."""
    if _completion_id(message.options) is None:
        return None
    start = running_group.start
    if start is None:
        running_group.start = WorkflowStart(time.time(), mark_of(message.actor_name))
    return start


def part_of(message: Any, workflow: Workflow) -> Part | None:
    """Return what a message is in its workflow, as `Delivery.part`.

    Nothing tells when a group ends, except its completion callback. No callback runs if a member,
    or a step of a pipeline that is one, fails.
    """
    if workflow.kind == "group":
        return None if workflow.step is None else "member"
    if _completion_id(message.options) is not None:
        return "member"
    return "step" if _id_of(message.options.get("pipe_target")) else None


def _completion_id(options: Mapping[str, Any]) -> str | None:
    """The id under which Dramatiq counts the completed members of a group.

    In a pipeline only the last step has it. None for a group without completion callbacks.
    """
    step: object = options
    while isinstance(step, Mapping):
        if "group_completion_uuid" in step:
            return str(step["group_completion_uuid"])
        target = step.get("pipe_target")
        step = target.get("options") if isinstance(target, Mapping) else None
    return None


def _place_of_callback(message: Any, identity: object) -> Place:
    group_id = str(identity)
    size = message_options.group_size(message)
    return Place(
        trigger="callback",
        workflow=Workflow(kind="group", id=group_id),
        joins=Joined(id=group_id, size=size) if size else None,
    )
