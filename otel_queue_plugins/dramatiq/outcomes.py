"""How a delivery ended, from what Dramatiq has decided about it."""

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

    from otel_queue_plugins.dramatiq.attempt import Attempt

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


def of(broker: Broker, attempt: Attempt) -> Ending:
    """The ending of `attempt`, once every middleware has had its say."""
    known = vars(attempt.message)
    failed = known.get("failed") is True
    error = attempt.error or known.get("_exception")
    if attempt.skipped:
        return _skipped(broker, attempt, xq_name(attempt.message.queue_name) if failed else None)
    if failed:
        return _dead(broker, attempt.message, error)
    if error is None and attempt.after_seen:
        return SUCCEEDED
    if error is None:
        return Ending(outcome=Outcome.LOST, reason="no end was seen")
    if attempt.requeue is None:
        return _dropped(broker, attempt, error)
    return Ending(
        outcome=Outcome.RETRY, error=error, reason=_why_retried(error), delay=attempt.requeue
    )


def is_retry(broker: Broker, attempt: Attempt) -> bool:
    """Whether it is a middleware that enqueues the message of `attempt` now, to try it again.

    That is Retries, whatever others do beside it. Of brokers without Retries it is any middleware,
    once the actor has raised. Everything else that enqueues the same message sends it.
    """
    middleware, hook = calling(broker)
    if hook != "after_process_message":
        return False
    if middleware_of(broker, Retries) is not None:
        return isinstance(middleware, Retries)
    return (attempt.error or vars(attempt.message).get("_exception")) is not None


def calling(broker: Broker) -> tuple[object, str]:
    """The middleware by which what runs now was called, and its hook; (None, "") if by none.

    An actor is called by none, whatever called the code that runs it.
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


def unknown_task(message: Any) -> Ending:
    """The ending of a message for an actor that nobody declared here."""
    not_found: Any = ActorNotFound
    return Ending(
        outcome=Outcome.UNKNOWN_TASK,
        error=vars(message).get("_exception") or not_found(message.actor_name),
        reason="unknown_task",
        dead_letter_queue=xq_name(message.queue_name),
    )


def _skipped(broker: Broker, attempt: Attempt, dead_letter_queue: str | None) -> Ending:
    middleware = _raised_by(broker, attempt.skip)
    reason, cancellation = _SKIPS.get(middleware, (middleware, "skipped"))
    return Ending(
        outcome=Outcome.SKIPPED,
        reason=reason,
        dead_letter_queue=dead_letter_queue,
        cancellation=cancellation,
    )


def _raised_by(broker: Broker, skip: BaseException | None) -> str:
    """The middleware that raised `skip`: its text may differ for each message, this does not."""
    trace = skip.__traceback__ if skip else None
    while trace:
        owner = trace.tb_frame.f_locals.get("self")
        if any(owner is found for found in broker.middleware):
            return type(owner).__name__
        trace = trace.tb_next
    return "unknown"


def _why_retried(error: BaseException) -> str:
    if isinstance(error, Retry):
        return exceptions.message(error) or "requested"
    return _known(error) or f"{type(error).__name__}: {exceptions.message(error)}"


def _known(error: BaseException) -> str | None:
    if _is_abort(error):
        return "aborted"
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)


def _is_abort(error: BaseException) -> bool:
    """Whether it is the interrupt of the package dramatiq-abort."""
    return any(base.__module__.startswith("dramatiq_abort") for base in type(error).__mro__)


def _dead(broker: Broker, message: Any, error: BaseException | None) -> Ending:
    expected = _is_declared(broker, message, error)
    outcome = _outcome_of_dead(error)
    return Ending(
        outcome=outcome,
        error=error,
        expected=expected,
        reason="throws" if expected else _why_given_up(broker, message, error),
        dead_letter_queue=xq_name(message.queue_name),
        cancellation="aborted" if outcome is Outcome.REVOKED else None,
    )


def _outcome_of_dead(error: BaseException | None) -> Outcome:
    if isinstance(error, TimeLimitExceeded):
        return Outcome.TIMEOUT
    if error is not None and _is_abort(error):
        return Outcome.REVOKED
    return Outcome.DEAD_LETTER


def _why_given_up(broker: Broker, message: Any, error: BaseException | None) -> str:
    if error is None:
        return "failed_by_middleware"
    known = _known(error)
    if known is not None:
        return known
    default = getattr(middleware_of(broker, Retries), "retry_when", None)
    decided = _actor_options(broker, message).get("retry_when", default)
    return "retries_exhausted" if decided is None else "retry_when"


def _dropped(broker: Broker, attempt: Attempt, error: BaseException) -> Ending:
    """Dramatiq acks it: without Retries that is what is meant, with Retries a message is lost."""
    if middleware_of(broker, Retries) is None:
        expected = _is_declared(broker, attempt.message, error)
        return Ending(outcome=Outcome.FAILURE, error=error, expected=expected)
    cause = attempt.requeue_error
    detail = f": {exceptions.type_name(cause)}" if cause else ""
    return Ending(outcome=Outcome.LOST, error=error, reason=f"the retry was not enqueued{detail}")


def _is_declared(broker: Broker, message: Any, error: BaseException | None) -> bool:
    """Whether the message or its actor declares `error` with `throws`, as Retries reads them."""
    throws: Any = message.options.get("throws") or _actor_options(broker, message).get("throws")
    try:
        return bool(throws) and isinstance(error, throws)
    except TypeError:
        return False


def _actor_options(broker: Broker, message: Any) -> dict[str, Any]:
    actor = broker.actors.get(message.actor_name)
    return actor.options if actor else {}
