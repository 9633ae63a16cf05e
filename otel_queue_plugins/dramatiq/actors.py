"""What a broker's actors and middleware say about their messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dramatiq.middleware import AgeLimit, MiddlewareError, Retries

from otel_queue_plugins.core.guard import complain
from otel_queue_plugins.core.options import check_relation
from otel_queue_plugins.dramatiq import carriage

if TYPE_CHECKING:
    from dramatiq import Actor, Broker


class WrongOptionError(MiddlewareError, ValueError):
    """An actor option of ours has a value that is none of its choices.

    Dramatiq lets only errors of this family out of a hook.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorFacts:
    """The defaults that a message of an actor may override. Ages are in milliseconds.

    `max_retries` is None where retries have no bound or somebody else decides (`retry_when`).
    """

    actor: Actor[Any, Any] | None = None
    function: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    max_age: int | None = None
    relation: str | None = None
    traced: bool = True


UNKNOWN: Final = ActorFacts()


def facts_of(broker: Broker, actor: Actor[Any, Any]) -> ActorFacts:
    """What is known about `actor` with the middleware that `broker` has now."""
    options = actor.options
    return ActorFacts(
        actor=actor,
        function=_function(actor.fn),
        priority=actor.priority or None,
        max_retries=_max_retries(broker, options),
        max_age=options.get("max_age") or _setting(broker, AgeLimit, "max_age"),
        relation=relation(options),
        traced=options.get(carriage.TRACE, True) is not False,
    )


def check(actor: Actor[Any, Any]) -> None:
    """Raise WrongOptionError for an `otel_relation` that is none."""
    chosen = actor.options.get(carriage.RELATION)
    try:
        if chosen is not None:
            check_relation(chosen)
    except ValueError as error:
        raise WrongOptionError(f"actor {actor.actor_name}: {carriage.RELATION}: {error}") from None


def relation(options: dict[str, Any]) -> str | None:
    """`otel_relation` in options; a value that is none of the choices counts as not given."""
    chosen = options.get(carriage.RELATION)
    try:
        return None if chosen is None else check_relation(chosen)
    except ValueError:
        complain(f"{carriage.RELATION}={chosen!r:.40}")
        return None


def middleware_of(broker: Broker, kind: type) -> Any:
    """The first middleware of `broker` that is a `kind`, or None."""
    return next((found for found in broker.middleware if isinstance(found, kind)), None)


def _setting(broker: Broker, kind: type, name: str) -> Any:
    return getattr(middleware_of(broker, kind), name, None)


def _max_retries(broker: Broker, options: dict[str, Any]) -> int | None:
    retries = middleware_of(broker, Retries)
    if retries is None or options.get("retry_when", retries.retry_when) is not None:
        return None
    bound = options.get("max_retries", retries.max_retries)
    return bound if isinstance(bound, int) else None


def _function(function: Any) -> str | None:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return f"{module}.{name}" if module and name else None
