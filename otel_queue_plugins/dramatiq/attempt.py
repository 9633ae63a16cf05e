"""A delivery in progress: what has been seen of it so far."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any, Final

from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.sdk import TaskLabel

_MARK: Final = "_otel_queue_attempt"


class Attempt:
    """One delivery, from `before_process_message` to its ack or nack.

    `after_seen` says that the actor is done with; `skip` is the exception that a middleware
    skipped it with. `requeue` holds the seconds until the next attempt, once it is enqueued,
    `requeue_error` why it could not be.
    """

    __slots__ = (
        "after_seen",
        "ended",
        "error",
        "label_token",
        "message",
        "operation",
        "outer",
        "requeue",
        "requeue_error",
        "skip",
        "skipped",
        "token",
    )

    def __init__(self, message: Any, operation: ProcessOperation) -> None:
        self.message = message
        self.operation = operation
        self.outer: Attempt | None = None
        self.token: Token[Attempt | None] | None = None
        self.label_token: Token[TaskLabel | None] | None = None
        self.error: BaseException | None = None
        self.skip: BaseException | None = None
        self.skipped = False
        self.after_seen = False
        self.ended = False
        self.requeue: float | None = None
        self.requeue_error: BaseException | None = None


ENDED: Final = Attempt(None, ProcessOperation())
"""Stands for an attempt whose end is recorded, so that it can be forgotten."""

current_attempt: Final[ContextVar[Attempt | None]] = ContextVar(
    "otel_queue_dramatiq_attempt", default=None
)


def of(message: Any) -> Attempt | None:
    """The attempt that `message` is, None if it has not begun."""
    found: Attempt | None = message.__dict__.get(_MARK)
    return found


def mark(message: Any, attempt: Attempt) -> None:
    """Make `attempt` the one of `message`: a proxy, or a frozen message in hand-made brokers."""
    object.__setattr__(message, _MARK, attempt)
