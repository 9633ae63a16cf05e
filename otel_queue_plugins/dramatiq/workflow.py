"""Pipelines, groups and callbacks: the place of a message among others, and what caused it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_queue_plugins.core.messages import Joined, Membership, Trigger, Workflow
from otel_queue_plugins.dramatiq import message_options

if TYPE_CHECKING:
    from dramatiq import group

    from otel_queue_plugins.dramatiq.attempt import Attempt


class Cause(NamedTuple):
    """What `core.messages.Message` wants to know beside the message itself."""

    trigger: Trigger = "call"
    workflow: Workflow | None = None
    membership: Membership | None = None
    joins: Joined | None = None


class RunningGroup:
    """A group whose members are being sent, one after the other."""

    __slots__ = ("id", "next_index", "size")

    def __init__(self, size: int) -> None:
        self.id = uuid.uuid4().hex
        self.size = size
        self.next_index = 0


_running: Final[ContextVar[RunningGroup | None]] = ContextVar(
    "otel_queue_dramatiq_group", default=None
)
ALONE: Final = Cause()
_SCHEDULED_AT: Final = "scheduled_at"  # what periodiq's scheduler sends its messages with


@contextmanager
def running(members: group) -> Iterator[None]:
    """Messages sent in this context are the members of a group."""
    token = _running.set(RunningGroup(len(members.children)))
    try:
        yield
    finally:
        _running.reset(token)


@contextmanager
def telling_callbacks_the_size(members: group) -> Iterator[None]:
    """The completion callbacks of `members`, as they travel, know how many they join."""
    callbacks, size = members.completion_callbacks, len(members.children)
    try:
        members.completion_callbacks = [
            message_options.with_group_size(callback, size) for callback in callbacks
        ]
        yield
    finally:
        members.completion_callbacks = callbacks


def cause_of(message: Any, attempt: Attempt | None) -> Cause:
    """Why `message` is being sent, by the delivery in progress, if there is one."""
    if attempt is not None:
        caused = _caused_by(message, attempt)
        if caused is not None:
            return caused
    group_now = _running.get()
    piped = isinstance(message.options.get("pipe_target"), dict)
    if group_now is None and _SCHEDULED_AT in message.options:
        return Cause(trigger="schedule", workflow=_first_step(message) if piped else None)
    if group_now is None:
        return Cause(workflow=_first_step(message)) if piped else ALONE
    membership = _next_member(message, group_now)
    workflow = Workflow(kind="group", id=membership.id, step=membership.index)
    return Cause(workflow=_first_step(message) if piped else workflow, membership=membership)


def _caused_by(message: Any, attempt: Attempt) -> Cause | None:
    source = attempt.message
    target = source.options.get("pipe_target")
    if _id_of(target) == message.message_id:
        return Cause(trigger="workflow", workflow=_next_step(attempt))
    if source.message_id == message.message_id:
        return Cause(workflow=_place_of(attempt))
    if message.args and _id_of(message.args[0]) == source.message_id:
        return Cause(trigger="callback")
    callbacks = source.options.get("group_completion_callbacks")
    if callbacks and any(_id_of(each) == message.message_id for each in callbacks):
        return _completion(message, source.options.get("group_completion_uuid"))
    return None


def _id_of(data: object) -> object:
    return data.get("message_id") if isinstance(data, Mapping) else None


def _first_step(message: Any) -> Workflow:
    return Workflow(kind="pipeline", id=str(message.message_id), step=0)


def _place_of(attempt: Attempt) -> Workflow | None:
    facts = attempt.operation.incoming.envelope
    return facts.workflow if facts else None


def _next_step(attempt: Attempt) -> Workflow:
    known = _place_of(attempt)
    if known is None or known.kind != "pipeline":
        return Workflow(kind="pipeline", id=str(attempt.message.message_id), step=1)
    return Workflow(kind="pipeline", id=known.id, step=(known.step or 0) + 1)


def _next_member(message: Any, group_now: RunningGroup) -> Membership:
    identity = _completion_id(message.options) or group_now.id
    index, group_now.next_index = group_now.next_index, group_now.next_index + 1
    return Membership(id=identity, index=index, size=group_now.size)


def _completion_id(options: Mapping[str, Any]) -> str | None:
    """What the completion of the group is counted under; the last step of a pipeline has it."""
    found: object = options
    while isinstance(found, Mapping):
        if "group_completion_uuid" in found:
            return str(found["group_completion_uuid"])
        target = found.get("pipe_target")
        found = target.get("options") if isinstance(target, Mapping) else None
    return None


def _completion(message: Any, identity: object) -> Cause:
    group_id = str(identity)
    size = message_options.group_size(message)
    return Cause(
        trigger="callback",
        workflow=Workflow(kind="group", id=group_id),
        joins=Joined(id=group_id, size=size) if size else None,
    )
