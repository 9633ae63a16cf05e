"""How a delivery ended, from what Dramatiq has decided about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dramatiq.common import xq_name
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import Retries, Shutdown, TimeLimitExceeded

from otel_queue_plugins.core import errors
from otel_queue_plugins.core.messages import SUCCEEDED, Ending, Outcome
from otel_queue_plugins.dramatiq.actors import middleware_of

if TYPE_CHECKING:
    from dramatiq import Broker

    from otel_queue_plugins.dramatiq.attempt import Attempt

_REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeLimitExceeded, "time_limit"),
    (Shutdown, "shutdown"),
    (RateLimitExceeded, "rate_limit"),
)
_SKIPPED_BY: Final = {"AgeLimit": "age_limit", "Abortable": "aborted"}


def of(broker: Broker, attempt: Attempt) -> Ending:
    """The ending of `attempt`, once every middleware has had its say."""
    message = attempt.message
    error = attempt.error or getattr(message, "_exception", None)
    failed = bool(getattr(message, "failed", False))
    if attempt.skipped:
        return _skipped(broker, attempt, failed, error)
    if attempt.requeue is not None:
        return _retry(error, attempt.requeue)
    if failed:
        return _dead_letter(broker, message, error)
    if error is None:
        return SUCCEEDED
    return _dropped(broker, attempt, error)


def unknown_task(message: Any, error: BaseException) -> Ending:
    """The ending of a message for an actor that nobody declared here."""
    return Ending(
        outcome=Outcome.UNKNOWN_TASK,
        error=error,
        reason="unknown_task",
        dead_letter_queue=xq_name(message.queue_name),
    )


def _skipped(
    broker: Broker, attempt: Attempt, failed: bool, error: BaseException | None
) -> Ending:
    reason = _skipped_by(broker, attempt.skip or error)
    return Ending(
        outcome=Outcome.SKIPPED,
        reason=reason,
        dead_letter_queue=xq_name(attempt.message.queue_name) if failed else None,
        cancellation="expired" if reason == "age_limit" else
        "aborted" if reason == "aborted" else "skipped",
    )


def _skipped_by(broker: Broker, skip: BaseException | None) -> str:
    """Which middleware raised `skip`: a name, because its text may differ for each message."""
    trace = skip.__traceback__ if skip else None
    while trace:
        owner = trace.tb_frame.f_locals.get("self")
        if any(owner is found for found in broker.middleware):
            name = type(owner).__name__
            return _SKIPPED_BY.get(name, name)
        trace = trace.tb_next
    return "skipped"


def _retry(error: BaseException | None, delay: float) -> Ending:
    return Ending(outcome=Outcome.RETRY, error=error, reason=_why_retried(error), delay=delay)


def _why_retried(error: BaseException | None) -> str:
    if error is None:
        return "requeued"
    if isinstance(error, Retry):
        return errors.message(error) or "requested"
    return _known(error) or f"{type(error).__name__}: {errors.message(error)}"


def _known(error: BaseException) -> str | None:
    if _is_abort(error):
        return "aborted"
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)


def _is_abort(error: BaseException) -> bool:
    """Whether it is the interrupt of the package dramatiq-abort."""
    return any(base.__module__.startswith("dramatiq_abort") for base in type(error).__mro__)


def _dead_letter(broker: Broker, message: Any, error: BaseException | None) -> Ending:
    expected = _is_declared(broker, message, error)
    outcome = Outcome.DEAD_LETTER
    if isinstance(error, TimeLimitExceeded) and not expected:
        outcome = Outcome.TIMEOUT
    elif error is not None and _is_abort(error):
        outcome = Outcome.REVOKED
    return Ending(
        outcome=outcome,
        error=error,
        expected=expected,
        reason=_why_given_up(broker, message, error, expected),
        dead_letter_queue=xq_name(message.queue_name),
        cancellation="aborted" if outcome is Outcome.REVOKED else None,
    )


def _why_given_up(
    broker: Broker, message: Any, error: BaseException | None, expected: bool
) -> str:
    if error is None:
        return "failed_by_middleware"
    if expected:
        return "throws"
    return _known(error) or ("not_retried" if _has_retry_when(broker, message) else
                             "retries_exhausted")


def _dropped(broker: Broker, attempt: Attempt, error: BaseException) -> Ending:
    """Dramatiq acks it: without Retries that is what is meant, with Retries a message is lost."""
    if middleware_of(broker, Retries) is None:
        expected = _is_declared(broker, attempt.message, error)
        return Ending(outcome=Outcome.FAILURE, error=error, expected=expected)
    cause = attempt.requeue_error
    reason = f"the retry was not enqueued: {errors.type_name(cause)}" if cause else None
    return Ending(
        outcome=Outcome.LOST, error=error, reason=reason or "the retry was not enqueued"
    )


def _is_declared(broker: Broker, message: Any, error: BaseException | None) -> bool:
    """Whether the message or its actor declares `error` with `throws`, as Retries reads them."""
    throws = message.options.get("throws") or _actor_options(broker, message).get("throws")
    try:
        return bool(throws) and isinstance(error, throws)
    except TypeError:
        return False


def _has_retry_when(broker: Broker, message: Any) -> bool:
    default = getattr(middleware_of(broker, Retries), "retry_when", None)
    return _actor_options(broker, message).get("retry_when", default) is not None


def _actor_options(broker: Broker, message: Any) -> dict[str, Any]:
    actor = broker.actors.get(message.actor_name)
    return actor.options if actor else {}
