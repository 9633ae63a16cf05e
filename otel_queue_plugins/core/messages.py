"""Frozen facts about routes, messages, deliveries and endings, the same for every framework.

Facts that are made for each message are named tuples: to make one costs a fifth of what a frozen
dataclass costs, and half of that with positional arguments. Use keywords where cost is no matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from opentelemetry.trace import SpanContext

from otel_queue_plugins.core.policy.arguments import Arguments

Trigger = Literal["call", "schedule", "callback", "workflow"]
CancellationScope = Literal["revoked", "terminated", "aborted", "expired", "skipped"]
FetchResult = Literal["message", "empty", "error"]
Part = Literal["step", "member"]
"""What a message is in its workflow: a `step` is followed by others if it succeeds, a `member` is
one of several that only together have an end."""


class Outcome(str, Enum):
    """How one delivery ended. Every delivery has exactly one."""

    SUCCESS = "success"
    RETRY = "retry"
    FAILURE = "failure"
    DEAD_LETTER = "dead_letter"
    REJECTED = "rejected"
    REQUEUED = "requeued"
    IGNORED = "ignored"
    SKIPPED = "skipped"
    REVOKED = "revoked"
    EXPIRED = "expired"
    TIMEOUT = "timeout"
    LOST = "lost"
    UNKNOWN_TASK = "unknown_task"
    UNDECODABLE = "undecodable"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """`messaging.system`, `server.address` and `server.port` of a broker.

    None where the configuration does not have them, or where there is no server.
    """

    system: str
    address: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """What all messages of one task on one queue have in common. Make one instance and keep it.

    `system` is the broker (`rabbitmq`, `redis`, `aws_sqs`, ...), `destination` the queue by the
    name its users know, `function` the qualified name of the Python function, None if unknown.
    """

    system: str
    destination: str
    task: str
    server_address: str | None = None
    server_port: int | None = None
    function: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """The place of a message in a chain, group, chord or pipeline; `step` counts from 0.

    `id` is empty in an envelope whose receiver gets it from the framework.
    """

    kind: str
    id: str
    step: int | None = None


NO_WORKFLOW = Workflow(kind="", id="")
"""Marks a message that is no part of a workflow, although the framework's fields look like it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A message that is one of several sent together; `index` counts from 0.

    `index` is None where the order is unknown; then no span can link to this member. `size` is None
    if the sender does not know how many there will be. `sent_with` is the id of a larger unit that
    is sent at once, None if that is the group.
    """

    id: str
    index: int | None
    size: int | None = None
    sent_with: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The group whose completion caused a message. `id` is as in `Workflow`.

    `trace_id` is the trace that its members were sent in; None for that of the current delivery.
    """

    id: str
    size: int
    trace_id: int | None = None


class WorkflowStart(NamedTuple):
    """When the first message of a workflow was sent, and for which task.

    `at` is in seconds since the epoch. `task` is the mark of a name (`core/task_names.py`), since
    the name itself would be too long for a message.
    """

    at: float
    task: str


class Message(NamedTuple):
    """One unit of work that user code sends.

    `eta` is the earliest start in seconds since the epoch, for frameworks that do not carry it to
    the worker themselves. `relation` overrides the option for this message. `joins` is the group
    whose completion caused it (the header of a chord, the members of a group). `arguments` are
    those of the task, if `QueueTelemetry.wants_arguments`. `start` is that of the workflow, for a
    message that is not the first of one.
    """

    route: Route
    id: str
    conversation_id: str | None = None
    eta: float | None = None
    relation: str | None = None
    trigger: Trigger = "call"
    workflow: Workflow | None = None
    membership: Membership | None = None
    joins: Joined | None = None
    arguments: Arguments | None = None
    start: WorkflowStart | None = None


class Batch(NamedTuple):
    """The deliveries that one call processes, as seen from one of them.

    The first has `size`, and the creation contexts of the others in `others`. Each of the others
    has None, and the process span of the first. A span links to all of `others`.
    """

    others: tuple[SpanContext, ...]
    size: int | None = None


class Delivery(NamedTuple):
    """A worker being handed a message once.

    Times are seconds since the epoch, None where unknown. `enqueued_at` and `eta` are those of the
    framework; the envelope's enqueue time wins over the first, its `eta` is used if the second is
    None. `span_id` is the id for the process span, if two processes may have to write it. `joins`
    is the id of the group whose completion caused the message. `batch` is what one call processes
    together with it. `arguments` are as in `Message`. `part` says whether a workflow goes on after
    the message; None if it ends with it, or there is none.
    """

    route: Route
    id: str
    conversation_id: str | None = None
    attempt: int = 1
    max_attempts: int | None = None
    priority: int | None = None
    trigger: Trigger | None = None
    eta: float | None = None
    expires_at: float | None = None
    enqueued_at: float | None = None
    received_at: float | None = None
    redelivered: bool = False
    worker_name: str | None = None
    worker_pid: int | None = None
    workflow: Workflow | None = None
    span_id: int | None = None
    joins: str | None = None
    batch: Batch | None = None
    arguments: Arguments | None = None
    part: Part | None = None


class Fetch(NamedTuple):
    """One poll of the broker by a worker.

    `destination` is the queue that something came from, or the only one asked; None if several
    were asked in vain. `started_at` is in seconds since the epoch. `size` is the number of
    messages; `carrier` and `message_id` are those of the first one.
    """

    broker: BrokerAddress
    destination: str | None
    started_at: float
    result: FetchResult
    size: int = 0
    carrier: Mapping[str, object] | None = None
    message_id: str | None = None


class Ending(NamedTuple):
    """How a delivery ended and why.

    `error` is the exception, if there was one; `expected` is True if the task declares it
    (`throws`). `stacktrace` is its text, if the framework has formatted it already. `delay` is the
    time until the next attempt, in seconds. `dead_letter_queue` is where the broker put the
    message. `cancellation` says more about the outcomes revoked, expired and skipped.
    """

    outcome: Outcome
    error: BaseException | None = None
    expected: bool = False
    stacktrace: str | None = None
    reason: str | None = None
    delay: float | None = None
    dead_letter_queue: str | None = None
    cancellation: CancellationScope | None = None


SUCCEEDED = Ending(outcome=Outcome.SUCCESS)
