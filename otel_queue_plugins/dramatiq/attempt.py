"""A delivery in progress: what has been seen of it so far."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

from otel_queue_plugins.core.operation import ProcessOperation

MAX_DEPTH: Final = 64
_MARK: Final = "_otel_queue_attempt"


class Attempt:
    """One delivery, from `before_process_message` to its ack or nack.

    `after_seen` says that the actor is done with, `skip` is the exception that a middleware
    skipped it with. `requeue` holds the seconds until the next attempt, once that is enqueued,
    and `requeue_error` why it could not be.
    """

    __slots__ = (
        "after_seen",
        "depth",
        "ended",
        "error",
        "message",
        "operation",
        "outer",
        "requeue",
        "requeue_error",
        "skip",
        "skipped",
    )

    def __init__(self, message: Any, operation: ProcessOperation) -> None:
        self.message = message
        self.operation = operation
        self.outer: Attempt | None = None
        self.depth = 0
        self.error: BaseException | None = None
        self.skip: BaseException | None = None
        self.skipped = False
        self.after_seen = False
        self.ended = False
        self.requeue: float | None = None
        self.requeue_error: BaseException | None = None

    def enter(self) -> None:
        """Be the current attempt."""
        outer = current()
        if outer is not None and outer.depth < MAX_DEPTH:
            self.outer, self.depth = outer, outer.depth + 1
        _current.set(self)

    def leave(self) -> None:
        """Be over. In another thread or task than `enter` was called in, only that."""
        self.ended = True
        if _current.get() is self:
            _current.set(current())


_current: Final[ContextVar[Attempt | None]] = ContextVar(
    "otel_queue_dramatiq_attempt", default=None
)

ENDED: Final = Attempt(None, ProcessOperation())
"""Stands for an attempt of which there is nothing more to tell, or never was."""
ENDED.ended = True


def current() -> Attempt | None:
    """The innermost attempt in this context that has not ended."""
    attempt = _current.get()
    while attempt is not None and attempt.ended:
        attempt = attempt.outer
    return attempt


def of(message: Any) -> Attempt | None:
    """The attempt that `message` is, None if it has not begun."""
    found: Attempt | None = message.__dict__.get(_MARK)
    return found


def mark(message: Any, attempt: Attempt) -> None:
    """Make `attempt` the one of `message`: a proxy, or the frozen message of an eager broker."""
    message.__dict__[_MARK] = attempt
