"""The place of a message in a workflow: group, chord, chain or callback.

Celery's own bookkeeping tells most of it: the members of a group carry its id and their index, a
step of a chain the steps after it, and whatever a worker sends on because a task ended is sent with
that task as explicit parent. What it does not tell, the wrappers here note while it happens.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from celery._state import get_current_task

from otel_queue_plugins.celery import steps, translation
from otel_queue_plugins.celery.steps import UNLOCK_CHORD, arguments, first
from otel_queue_plugins.core.messages import NO_WORKFLOW, Joined, Membership, Trigger, Workflow
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.safety import never_raises


class Group(NamedTuple):
    """What is being sent at once, its outermost group's id, and the size of the innermost one.

    `of_callbacks` says that it is a group of Celery's making, of what was told with `link` or
    `link_error`.
    """

    id: str
    size: int | None
    of_callbacks: bool = False


_joined: Final[ContextVar[Joined | None]] = ContextVar("otel_queue_celery_joined", default=None)
_group: Final[ContextVar[Group | None]] = ContextVar("otel_queue_celery_group", default=None)
failed_request: Final[ContextVar[Any]] = ContextVar("otel_queue_celery_failed", default=None)
"""The request whose errbacks are being called."""


class Place(NamedTuple):
    """Why a message is sent, and what it is a part of."""

    trigger: Trigger = "call"
    workflow: Workflow | None = None
    membership: Membership | None = None
    joins: Joined | None = None


NOWHERE: Final = Place()


def place(
    facts: Mapping[str, Any],
    body: Any,
    options: Mapping[str, Any],
    delivery: ProcessOperation | None,
) -> Place:
    """The place of the message that `send_task(..., **options)` makes.

    `facts` and `body` are what Celery writes into it, `delivery` is the one that it is sent in.
    """
    group, chain, name = facts.get("group"), options.get("chain"), facts.get("task")
    together, joins = _group.get(), _joined.get()
    if not (delivery or group or together or name == UNLOCK_CHORD or chain is not None):
        return NOWHERE
    sent_on = _is_sent_on(options, delivery)
    workflow = steps.of_message(facts, body, options, delivery, sent_on=sent_on, joins=joins)
    if together and together.of_callbacks:
        workflow = NO_WORKFLOW
    elif joins and not (workflow or group):
        workflow = Workflow(kind="chord", id=joins.id)
    trigger: Trigger = "callback" if sent_on else "call"
    if (workflow and workflow.kind) or joins or (group and not sent_on):
        trigger = "workflow"
    if name == UNLOCK_CHORD:
        membership = _member(first(arguments(body)), None, together)
    else:
        index = _index(facts, options, delivery)
        membership = _member(group, index, together)
    return Place(trigger, workflow, membership, joins and _as_it_travels(joins, facts, chain))


def _as_it_travels(joins: Joined, facts: Mapping[str, Any], chain: Any) -> Joined:
    """`joins` without the id if the receiver finds that among Celery's own facts."""
    known = translation.joined(facts, chain) == joins.id
    return Joined(id="", size=joins.size) if known else joins


def _is_sent_on(options: Mapping[str, Any], delivery: ProcessOperation | None) -> bool:
    """Whether Celery sends this because a task ended, and not a task's own code."""
    if failed_request.get() is not None:
        return True
    if delivery is None:
        return False
    return translation.identity(options.get("parent_id")) == delivery.delivery.id


def _index(
    facts: Mapping[str, Any], options: Mapping[str, Any], delivery: ProcessOperation | None
) -> int | None:
    """The place in the header of a chord, by which its body will link to this message.

    No message may get the place of another: a task that replaces a member has none, nor has the
    last step of a chain that is a member, when the step before it was delivered twice.
    """
    index = facts.get("group_index")
    again = delivery is not None and delivery.delivery.redelivered
    if again or not options.get("chord") or facts.get("replaced_task_nesting"):
        return None
    return index if isinstance(index, int) else None


def _member(group: Any, index: int | None, together: Group | None) -> Membership | None:
    identity = translation.identity(group) or (together and together.id)
    if identity is None:
        return None
    return Membership(
        id=identity,
        index=index,
        size=together and together.size,
        sent_with=together and together.id,
    )


def _callbacks(options: Mapping[str, Any]) -> Any:
    """What Celery is calling because a task ended, if that is what it does."""
    failed, task = failed_request.get(), get_current_task()
    if failed is not None:
        return failed.errbacks or ()
    ended = task and options.get("parent_id") == task.request.id
    return task.request.callbacks or () if ended else ()


def _no_group() -> Group | None:
    return None


def _nothing_joined() -> Joined | None:
    return None


class Canvas:
    """Wrappers around the moments of a workflow that no message tells of."""

    def __init__(self, covers: Callable[[Any], bool]) -> None:
        self._covers = covers

    def apply_group(self, wrapped: Any, group: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `group.apply_async`: what is sent at once, and how many."""
        token = _group.set(self._sent_at_once(group, kwargs))
        try:
            return wrapped(*args, **kwargs)
        finally:
            _group.reset(token)

    @never_raises(_no_group)
    def _sent_at_once(self, group: Any, options: dict[str, Any]) -> Group | None:
        outer, tasks = _group.get(), group.kwargs.get("tasks")
        told = options.get("task_id") or group.options.get("task_id")
        identity = outer.id if outer else translation.identity(told)
        size = len(tasks) if isinstance(tasks, (list, tuple)) else None
        of_callbacks = bool(size) and tasks[0] in _callbacks(options)
        return Group(identity or uuid.uuid4().hex, size, of_callbacks)

    def delay(self, wrapped: Any, signature: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Signature.delay`, which is how Celery sends the body of a chord."""
        joined = self._joined(signature, args)
        if joined is None:
            return wrapped(*args, **kwargs)
        token = _joined.set(joined)
        try:
            return wrapped(*args, **kwargs)
        finally:
            _joined.reset(token)

    @never_raises(_nothing_joined)
    def _joined(self, signature: Any, args: Any) -> Joined | None:
        """What the header of a chord is to its body, and None for any other `delay`."""
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
        same = body and body["options"].get("task_id") == signature.options.get("task_id")
        identity = translation.identity(group)
        return Joined(id=identity, size=len(args[0])) if same and identity is not None else None
