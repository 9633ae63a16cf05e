"""The options of actors, and the defaults that a broker's middleware gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dramatiq.middleware import AgeLimit, MiddlewareError, Retries

from otel_queue_plugins.core.options import check_relation
from otel_queue_plugins.core.policy.arguments import Arguments
from otel_queue_plugins.core.safety import log_failure
from otel_queue_plugins.dramatiq import message_options

if TYPE_CHECKING:
    from dramatiq import Actor, Broker


class WrongOptionError(MiddlewareError, ValueError):
    """An actor option of this package has a value that is not one of its choices.

    Dramatiq passes on only exceptions of the type `MiddlewareError` from a hook.
    """


class DeliveryOptions(NamedTuple):
    """What the options of a message, or of its actor, say about its delivery.

    `max_age` is in seconds, `requeued_at` in seconds since the epoch. `max_attempts` is None if
    there is no bound, or if `retry_when` decides instead of a number.
    """

    attempt: int = 1
    max_attempts: int | None = None
    priority: int | None = None
    max_age: float | None = None
    requeued_at: float | None = None


_TOO_LONG: Final = 1e15
_NO_OPTIONS: Final = DeliveryOptions()
_OPTION_NAMES: Final = frozenset(
    {"retries", "max_retries", "broker_priority", "max_age", "requeue_timestamp"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorFacts:
    """The facts about an actor that its spans need. A message may override `defaults`.

    `counts_retries` is whether a number bounds its attempts, and not `retry_when`. `limits_age` is
    whether the broker has a middleware that checks the age of messages.
    """

    actor: Actor[Any, Any] | None = None
    function: str | None = None
    relation: str | None = None
    traced: bool = True
    counts_retries: bool = False
    limits_age: bool = False
    defaults: DeliveryOptions = _NO_OPTIONS

    def delivery_options(self, options: dict[str, Any]) -> DeliveryOptions:
        """Return what applies to a message with these options."""
        if _OPTION_NAMES.isdisjoint(options):
            return self.defaults
        defaults, get = self.defaults, options.get
        bounded = self.counts_retries and "max_retries" in options
        max_age = seconds(get("max_age")) if self.limits_age else None
        return DeliveryOptions(
            attempt=(_number(get("retries")) or 0) + 1,
            max_attempts=_attempts(get("max_retries")) if bounded else defaults.max_attempts,
            priority=_number(get("broker_priority")) or defaults.priority,
            max_age=max_age or defaults.max_age,
            requeued_at=seconds(get("requeue_timestamp")),
        )


def arguments_of(message: Any, actor: ActorFacts) -> Arguments:
    """Return the arguments of `message`, and the function of its actor."""
    return Arguments(message.args, message.kwargs, actor.actor.fn if actor.actor else None)


UNKNOWN_ACTOR: Final = ActorFacts()


def facts_of(broker: Broker, actor: Actor[Any, Any]) -> ActorFacts:
    """Collect the facts about `actor`, with the middleware that `broker` has now."""
    options = actor.options
    return ActorFacts(
        actor=actor,
        function=_function(actor.fn),
        relation=relation_in(options),
        traced=options.get(message_options.TRACE, True) is not False,
        counts_retries=_counts_retries(broker, options),
        limits_age=middleware_of(broker, AgeLimit) is not None,
        defaults=_defaults(broker, actor),
    )


def check_options(actor: Actor[Any, Any]) -> None:
    """Raise `WrongOptionError` if `otel_relation` has a wrong value."""
    chosen = actor.options.get(message_options.RELATION)
    try:
        if chosen is not None:
            check_relation(chosen)
    except ValueError as error:
        raise WrongOptionError(
            f"actor {actor.actor_name}: {message_options.RELATION}: {error}"
        ) from None


def relation_in(options: dict[str, Any]) -> str | None:
    """Return `otel_relation` in `options`, None if it is not given. Logs a wrong value."""
    chosen = options.get(message_options.RELATION)
    try:
        return None if chosen is None else check_relation(chosen)
    except ValueError:
        log_failure(f"{message_options.RELATION}={chosen!r:.40}")
        return None


def middleware_of(broker: Broker, kind: type) -> Any:
    """Return the first middleware of `broker` that is a `kind`; None if there is none."""
    return next((each for each in broker.middleware if isinstance(each, kind)), None)


def _defaults(broker: Broker, actor: Actor[Any, Any]) -> DeliveryOptions:
    options = actor.options
    retries = options.get(
        "max_retries", getattr(middleware_of(broker, Retries), "max_retries", None)
    )
    limit = middleware_of(broker, AgeLimit)
    max_age = options.get("max_age", limit.max_age) if limit else None
    return DeliveryOptions(
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
    """Convert milliseconds to seconds. None if `millis` is no number, or too large for a time."""
    if not isinstance(millis, (int, float)) or not -_TOO_LONG < millis < _TOO_LONG:
        return None
    return millis / 1000


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _function(function: Any) -> str | None:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else None
