"""What has been seen of one delivery so far, kept on the operation and on the message."""

from __future__ import annotations

from typing import Any, Final

from otel_queue_plugins.core.operation import ProcessOperation, current_delivery

_KEY: Final = "_otel_queue_delivery"


class DeliveryState:
    """One delivery, from `before_process_message` to its ack or nack.

    Attributes:
        error: The exception that the actor raised; None if it raised none.
        skip: The exception by which a middleware skipped the message, if it is known.
        skipped: Whether a middleware skipped the message.
        actor_ended: Whether the actor has ended or was skipped.
        ended: Whether the process span has ended.
        requeue: The seconds until the next attempt; None if none has been enqueued.
        requeue_error: The exception for which the next attempt could not be enqueued.
    """

    __slots__ = (
        "actor_ended",
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
        self.actor_ended = False
        self.ended = False
        self.requeue: float | None = None
        self.requeue_error: BaseException | None = None
        operation.adapter_state = self


ENDED: Final = DeliveryState(None, ProcessOperation())
"""Marks a message whose delivery has been recorded, or is not to be recorded."""
ENDED.ended = True


def current_state() -> DeliveryState | None:
    """The state of the current delivery; None if there is none or it has ended."""
    operation = current_delivery.get()
    state = operation.adapter_state if operation is not None else None
    return state if isinstance(state, DeliveryState) and not state.ended else None


def state_of(message: Any) -> DeliveryState | None:
    """The state of the delivery of `message`; None if it has not begun."""
    state: DeliveryState | None = message.__dict__.get(_KEY)
    return state


def set_state(message: Any, state: DeliveryState) -> None:
    """Keep `state` on `message`: a proxy, or the frozen message of an eager broker."""
    message.__dict__[_KEY] = state
