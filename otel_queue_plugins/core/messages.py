"""What a message and its delivery are: frozen facts, whichever framework they come from.

Facts made for each message are named tuples, which cost a fifth of a frozen dataclass to make, and
half of that again where each message makes them by position. Elsewhere, say their fields by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from opentelemetry.trace import SpanContext

Trigger = Literal["call", "schedule", "callback", "workflow"]
CancellationScope = Literal["revoked", "terminated", "aborted", "expired", "skipped"]


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
    """`messaging.system`, `server.address` and `server.port`.

    None where the configuration does not say it, or where there is no server.
    """

    system: str
    address: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """What all messages of one task on one queue have in common. Make it once and keep it.

    `system` is the broker (`rabbitmq`, `redis`, `aws_sqs`, ...), `destination` the queue by the
    name its users know, `function` the fully qualified Python function, if this process knows it.
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

    `id` is empty on the way, where the framework's own bookkeeping tells the receiver.
    """

    kind: str
    id: str
    step: int | None = None


NO_WORKFLOW = Workflow(kind="", id="")
"""What a sender says of a message that looks like a part of a workflow and is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A message that is one of several sent together; `index` counts from 0.

    `index` is None for one that nobody will link to by its place. `size` is None where the sender
    does not know how many there will be. `sent_with` names what is sent at once, where that is more
    than the group.
    """

    id: str
    index: int | None
    size: int | None = None
    sent_with: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The group whose completion caused a message. `id` is as in `Workflow`.

    `trace_id` is the trace its members were sent in; None: that of the delivery in progress.
    """

    id: str
    size: int
    trace_id: int | None = None


class Message(NamedTuple):
    """One unit of work that user code sends.

    `eta` is the earliest start in seconds since the epoch, for frameworks that do not carry it to
    the worker themselves. `relation` overrides the default of the app for this message. `joins`
    says whose completion caused this message (the header of a chord, the members of a group).
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


class Batch(NamedTuple):
    """Deliveries that one call processes. `size` is None but for the one that stands for them.

    `others` are contexts to link to: for that one the creation contexts of the others, for each of
    them its process span.
    """

    others: tuple[SpanContext, ...]
    size: int | None = None


class Delivery(NamedTuple):
    """A worker being handed a message once.

    Times are seconds since the epoch and None where unknown. `enqueued_at` and `eta` are what the
    framework itself knows; what the sender wrote into the carrier wins for the first, and fills
    in for the second. `span_id` is the id chosen for the process span, when two processes may
    have to write it. `joins` is the id of the group whose completion caused the message. `batch` is
    what it is processed together with.
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


class Ending(NamedTuple):
    """How a delivery ended and why.

    `error` is the exception, if there was one; `expected` says that the task declared it.
    `stacktrace` is its text where the framework has formatted it already. `delay` is the seconds
    until the next attempt. `dead_letter_queue` is where the broker put the message. `cancellation`
    refines a revoked, expired or skipped ending.
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
