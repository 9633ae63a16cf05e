"""What a broker's actors and middleware say about their messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dramatiq.middleware import AgeLimit, MiddlewareError, Retries

from otel_queue_plugins.core.options import check_relation
from otel_queue_plugins.core.safety import log_failure
from otel_queue_plugins.dramatiq import message_options

if TYPE_CHECKING:
    from dramatiq import Actor, Broker


class WrongOptionError(MiddlewareError, ValueError):
    """An actor option of ours has a value that is none of its choices.

    Dramatiq lets only errors of this family out of a hook.
    """


class Terms(NamedTuple):
    """What a message is delivered under. `max_age` in seconds, `requeued_at` since the epoch.

    `max_attempts` is None where retries have no bound or somebody else decides (`retry_when`).
    """

    attempt: int = 1
    max_attempts: int | None = None
    priority: int | None = None
    max_age: float | None = None
    requeued_at: float | None = None


_TOO_LONG: Final = 1e15
_ANY: Final = Terms()
_TERMS: Final = frozenset(
    {"retries", "max_retries", "broker_priority", "max_age", "requeue_timestamp"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorFacts:
    """What is known about an actor. A message may come under other terms.

    `counts_retries` says that a number bounds its attempts (not `retry_when`), `limits_age` that
    somebody looks at the age of its messages.
    """

    actor: Actor[Any, Any] | None = None
    function: str | None = None
    relation: str | None = None
    traced: bool = True
    counts_retries: bool = False
    limits_age: bool = False
    terms: Terms = _ANY

    def terms_of(self, options: dict[str, Any]) -> Terms:
        """The terms of a message with these options."""
        if _TERMS.isdisjoint(options):
            return self.terms
        known, said = self.terms, options.get
        bounded = self.counts_retries and "max_retries" in options
        max_age = seconds(said("max_age")) if self.limits_age else None
        return Terms(
            attempt=(_number(said("retries")) or 0) + 1,
            max_attempts=_attempts(said("max_retries")) if bounded else known.max_attempts,
            priority=_number(said("broker_priority")) or known.priority,
            max_age=max_age or known.max_age,
            requeued_at=seconds(said("requeue_timestamp")),
        )


UNKNOWN: Final = ActorFacts()


def facts_of(broker: Broker, actor: Actor[Any, Any]) -> ActorFacts:
    """What is known about `actor` with the middleware that `broker` has now."""
    options = actor.options
    return ActorFacts(
        actor=actor,
        function=_function(actor.fn),
        relation=relation(options),
        traced=options.get(message_options.TRACE, True) is not False,
        counts_retries=_counts_retries(broker, options),
        limits_age=middleware_of(broker, AgeLimit) is not None,
        terms=_terms(broker, actor),
    )


def check(actor: Actor[Any, Any]) -> None:
    """Raise WrongOptionError for an `otel_relation` that is none."""
    chosen = actor.options.get(message_options.RELATION)
    try:
        if chosen is not None:
            check_relation(chosen)
    except ValueError as error:
        raise WrongOptionError(
            f"actor {actor.actor_name}: {message_options.RELATION}: {error}"
        ) from None


def relation(options: dict[str, Any]) -> str | None:
    """`otel_relation` in options; a value that is none of the choices counts as not given."""
    chosen = options.get(message_options.RELATION)
    try:
        return None if chosen is None else check_relation(chosen)
    except ValueError:
        log_failure(f"{message_options.RELATION}={chosen!r:.40}")
        return None


def middleware_of(broker: Broker, kind: type) -> Any:
    """The first middleware of `broker` that is a `kind`, or None."""
    return next((found for found in broker.middleware if isinstance(found, kind)), None)


def _terms(broker: Broker, actor: Actor[Any, Any]) -> Terms:
    options = actor.options
    retries = options.get(
        "max_retries", getattr(middleware_of(broker, Retries), "max_retries", None)
    )
    limit = middleware_of(broker, AgeLimit)
    max_age = options.get("max_age", limit.max_age) if limit else None
    return Terms(
        max_attempts=_attempts(retries) if _counts_retries(broker, options) else None,
        priority=actor.priority or None,
        max_age=seconds(max_age) or None,
    )


def _counts_retries(broker: Broker, options: dict[str, Any]) -> bool:
    retries = middleware_of(broker, Retries)
    return retries is not None and options.get("retry_when", retries.retry_when) is None


def _attempts(retries: object) -> int | None:
    return max(retries, 0) + 1 if isinstance(retries, int) else None


def seconds(millis: object) -> float | None:
    """`millis` in seconds; None for what is no time: text, infinity, beyond thousands of years."""
    if not isinstance(millis, (int, float)) or not -_TOO_LONG < millis < _TOO_LONG:
        return None
    return millis / 1000


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _function(function: Any) -> str | None:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else None
