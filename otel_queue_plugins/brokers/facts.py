"""What is known of a queue and of a message in it. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from opentelemetry.trace import SpanContext

from otel_queue_plugins.core.messages import Workflow

State = Literal["ready", "delayed", "unacked", "dead"]

STATES: Final[tuple[State, ...]] = ("ready", "delayed", "unacked", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Whose queues, on which broker. `url` has no password."""

    framework: str
    system: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """The numbers of one queue. None means unknown, and `unknown` has the reason by field name.

    `unacked` is held by workers and not acked; what they hold for a later time is `delayed`.
    Ages are in seconds, from when a message could have run; 0 where there is no message.
    `abandoned` is what workers hold that are gone.
    """

    name: str
    system: str
    ready: int | None
    delayed: int | None
    unacked: int | None
    dead: int | None
    oldest_age_s: float | None
    oldest_unacked_age_s: float | None
    abandoned: int | None
    consumers: int | None
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message as it lies in a queue. None is unknown, or not said by the message.

    `attempt` is the one that it waits for, or that is in progress; `died_at` when it became a dead
    letter. `headers` is what the message says beside its arguments, `arguments` what it carries,
    for those who ask. `creation` is the context it was sent in. `raw` and `place` are what the
    broker needs to find it again.
    """

    id: str
    task: str
    queue: str
    state: State
    attempt: int = 1
    max_attempts: int | None = None
    enqueued_at: float | None = None
    eta: float | None = None
    expires_at: float | None = None
    died_at: float | None = None
    priority: int | None = None
    size_bytes: int = 0
    redelivered: bool = False
    creation: SpanContext | None = None
    baggage: Mapping[str, str] = field(default_factory=dict)
    workflow: Workflow | None = None
    headers: Mapping[str, object] = field(default_factory=dict)
    arguments: Mapping[str, object] = field(default_factory=dict)
    raw: bytes = b""
    place: object = None

    @property
    def could_run_at(self) -> float | None:
        """Since when the message waits to be run; None if neither sender nor framework say."""
        said = [when for when in (self.enqueued_at, self.eta) if when is not None]
        return max(said) if said else None

    def age(self, now: float) -> float | None:
        """Seconds since the message could have run, never negative; None if that is unknown."""
        since = self.could_run_at
        return None if since is None else max(0.0, now - since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Messages that were looked for; `unseen` has the places not looked at, each with a reason."""

    messages: tuple[StoredMessage, ...]
    unseen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a change would do: how many messages it concerns, and what stays all the same."""

    queue: str
    state: State
    matched: int
    stays: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done: `matched` were to be changed, `done` were.

    `left` says why some were not, the reason with its number.
    """

    queue: str
    state: State
    matched: int
    done: int
    left: Mapping[str, int] = field(default_factory=dict)
