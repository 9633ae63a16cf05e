"""Determine the ending of a delivery from what Dramatiq has decided about it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from dramatiq import Actor
from dramatiq.common import xq_name
from dramatiq.errors import ActorNotFound, RateLimitExceeded, Retry
from dramatiq.middleware import Retries, Shutdown, TimeLimitExceeded

from otel_queue_plugins.core import exceptions
from otel_queue_plugins.core.messages import SUCCEEDED, CancellationScope, Ending, Outcome
from otel_queue_plugins.dramatiq.actors import middleware_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dramatiq import Broker

    from otel_queue_plugins.dramatiq.delivery_state import DeliveryState

_ACTOR_CODE: Final = getattr(Actor.__call__, "__code__", None)
_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeLimitExceeded, "time_limit"),
    (Shutdown, "shutdown"),
    (RateLimitExceeded, "rate_limit"),
)
_SKIPS: Final[Mapping[str, tuple[str, CancellationScope]]] = {
    "AgeLimit": ("age_limit", "expired"),
    "Abortable": ("aborted", "aborted"),
}


def of_delivery(broker: Broker, state: DeliveryState) -> Ending:
    """Return the ending of a delivery, after the hooks of every middleware."""
    fields = vars(state.message)
    failed = fields.get("failed") is True
    error = state.error or fields.get("_exception")
    if state.skipped:
        return _of_skipped(broker, state, xq_name(state.message.queue_name) if failed else None)
    if failed:
        return _of_dead_letter(broker, state.message, error)
    if error is None and state.actor_ended:
        return SUCCEEDED
    if error is None:
        return Ending(outcome=Outcome.LOST, reason="no end was seen")
    if state.requeue is None:
        return _of_acked_failure(broker, state, error)
    return Ending(
        outcome=Outcome.RETRY, error=error, reason=_why_retried(error), delay=state.requeue
    )


def is_retry(broker: Broker, state: DeliveryState) -> bool:
    """Whether the `enqueue` that runs now is a retry of the message of the current delivery.

    It is if `Retries` calls it. On a broker without `Retries` it is if any middleware calls it
    after the actor has raised. Any other call for the same message is a send.
    """
    middleware, hook = calling_middleware(broker)
    if hook != "after_process_message":
        return False
    if middleware_of(broker, Retries) is not None:
        return isinstance(middleware, Retries)
    return (state.error or vars(state.message).get("_exception")) is not None


def calling_middleware(broker: Broker) -> tuple[object, str]:
    """Return the middleware whose hook the running code is called from, and the hook's name.

    Returns `(None, "")` outside of a hook. Code of an actor counts as outside, also where a
    middleware runs the actor.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not _ACTOR_CODE:
        hook = frame.f_code.co_name
        if hook.startswith(("before_", "after_")):
            owner = frame.f_locals.get("self")
            if any(owner is each for each in broker.middleware):
                return owner, hook
        frame = frame.f_back
    return None, ""


def of_unknown_actor(message: Any) -> Ending:
    """Return the ending of a message for an actor that is not declared in this process."""
    not_found: Any = ActorNotFound
    return Ending(
        outcome=Outcome.UNKNOWN_TASK,
        error=vars(message).get("_exception") or not_found(message.actor_name),
        reason="unknown_task",
        dead_letter_queue=xq_name(message.queue_name),
    )


def _of_skipped(broker: Broker, state: DeliveryState, dead_letter_queue: str | None) -> Ending:
    middleware = _raised_by(broker, state.skip)
    reason, cancellation = _SKIPS.get(middleware, (middleware, "skipped"))
    return Ending(
        outcome=Outcome.SKIPPED,
        reason=reason,
        dead_letter_queue=dead_letter_queue,
        cancellation=cancellation,
    )


def _raised_by(broker: Broker, skip: BaseException | None) -> str:
    """Return the class name of the middleware that raised `skip`; `unknown` if there is none.

    Unlike the text of the exception, it is the same for every message.
    """
    trace = skip.__traceback__ if skip else None
    while trace:
        owner = trace.tb_frame.f_locals.get("self")
        if any(owner is each for each in broker.middleware):
            return type(owner).__name__
        trace = trace.tb_next
    return "unknown"


def _why_retried(error: BaseException) -> str:
    if isinstance(error, Retry):
        return exceptions.message(error) or "requested"
    return _reason_of(error) or f"{type(error).__name__}: {exceptions.message(error)}"


def _reason_of(error: BaseException) -> str | None:
    if _is_abort(error):
        return "aborted"
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)


def _is_abort(error: BaseException) -> bool:
    """Whether `error` is the interrupt of the package dramatiq-abort."""
    return any(base.__module__.startswith("dramatiq_abort") for base in type(error).__mro__)


def _of_dead_letter(broker: Broker, message: Any, error: BaseException | None) -> Ending:
    expected = _is_declared(broker, message, error)
    outcome = _outcome_of_dead_letter(error)
    return Ending(
        outcome=outcome,
        error=error,
        expected=expected,
        reason="throws" if expected else _why_given_up(broker, message, error),
        dead_letter_queue=xq_name(message.queue_name),
        cancellation="aborted" if outcome is Outcome.REVOKED else None,
    )


def _outcome_of_dead_letter(error: BaseException | None) -> Outcome:
    if isinstance(error, TimeLimitExceeded):
        return Outcome.TIMEOUT
    if error is not None and _is_abort(error):
        return Outcome.REVOKED
    return Outcome.DEAD_LETTER


def _why_given_up(broker: Broker, message: Any, error: BaseException | None) -> str:
    if error is None:
        return "failed_by_middleware"
    fields = _reason_of(error)
    if fields is not None:
        return fields
    default = getattr(middleware_of(broker, Retries), "retry_when", None)
    decided = _actor_options(broker, message).get("retry_when", default)
    return "retries_exhausted" if decided is None else "retry_when"


def _of_acked_failure(broker: Broker, state: DeliveryState, error: BaseException) -> Ending:
    """Return the ending of a failed message that Dramatiq acks and does not enqueue again.

    Without `Retries` this is the intended way. With it, the message is lost.
    """
    if middleware_of(broker, Retries) is None:
        expected = _is_declared(broker, state.message, error)
        return Ending(outcome=Outcome.FAILURE, error=error, expected=expected)
    cause = state.requeue_error
    detail = f": {exceptions.type_name(cause)}" if cause else ""
    return Ending(outcome=Outcome.LOST, error=error, reason=f"the retry was not enqueued{detail}")


def _is_declared(broker: Broker, message: Any, error: BaseException | None) -> bool:
    """Whether `throws` of the message, or else of its actor, includes the type of `error`."""
    throws: Any = message.options.get("throws") or _actor_options(broker, message).get("throws")
    try:
        return bool(throws) and isinstance(error, throws)
    except TypeError:
        return False


def _actor_options(broker: Broker, message: Any) -> dict[str, Any]:
    actor = broker.actors.get(message.actor_name)
    return actor.options if actor else {}
