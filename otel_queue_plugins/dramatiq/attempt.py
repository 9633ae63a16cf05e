"""A delivery in progress: what has been seen of it so far."""

from __future__ import annotations

from typing import Any, Final

from otel_queue_plugins.core.operation import ProcessOperation, current_delivery

_MARK: Final = "_otel_queue_attempt"


class Attempt:
    """One delivery, from `before_process_message` to its ack or nack.

    `after_seen` says that the actor is done with, `skip` is the exception that a middleware
    skipped it with. `requeue` holds the seconds until the next attempt, once that is enqueued,
    and `requeue_error` why it could not be.
    """

    __slots__ = (
        "after_seen",
        "ended",
        "error",
        "message",
        "operation",
        "requeue",
        "requeue_error",
        "skip",
        "skipped",
    )

    def __init__(self, message: Any, operation: ProcessOperation) -> None:
        self.message = message
        self.operation = operation
        self.error: BaseException | None = None
        self.skip: BaseException | None = None
        self.skipped = False
        self.after_seen = False
        self.ended = False
        self.requeue: float | None = None
        self.requeue_error: BaseException | None = None
        operation.adapter_state = self


ENDED: Final = Attempt(None, ProcessOperation())
"""Stands for an attempt of which there is nothing more to tell, or never was."""
ENDED.ended = True


def current() -> Attempt | None:
    """The attempt that the running code belongs to, unless that has ended."""
    operation = current_delivery.get()
    found = operation.adapter_state if operation is not None else None
    return found if isinstance(found, Attempt) and not found.ended else None


def of(message: Any) -> Attempt | None:
    """The attempt that `message` is, None if it has not begun."""
    found: Attempt | None = message.__dict__.get(_MARK)
    return found


def mark(message: Any, attempt: Attempt) -> None:
    """Make `attempt` the one of `message`: a proxy, or the frozen message of an eager broker."""
    message.__dict__[_MARK] = attempt
