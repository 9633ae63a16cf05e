"""Where the dead letters of a queue go: to the queue that its dead-letter exchange leads to.

Celery has none by itself; the user declares them, or a policy does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_queue_plugins.brokers.answers import Unknown
from otel_queue_plugins.brokers.formats.values import mapping, text
from otel_queue_plugins.brokers.on_rabbitmq.management import Details
from otel_queue_plugins.brokers.on_rabbitmq.reach import Api

NONE: Final = Unknown("the queue has no dead-letter exchange: what is rejected is removed")
NO_POLICY: Final = Unknown(
    "the app declares no dead-letter exchange; whether a policy does, only the management API tells"
)

_DEATHS: Final = "x-death"
_EXCHANGE: Final = "dead-letter-exchange"
_KEY: Final = "dead-letter-routing-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A queue as an app declares it."""

    exchange: str = ""
    routing_key: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict)


Declarations = Callable[[], Mapping[str, Declaration]]


def origin(headers: Mapping[str, object]) -> str | None:
    """The queue that a message died in last; None if it says nothing of its death."""
    deaths = headers.get(_DEATHS)
    latest = deaths[0] if isinstance(deaths, list) and deaths else None
    return text(mapping(latest).get("queue"))


def died_at(headers: Mapping[str, object]) -> object:
    """When a message died last, as the client library gives it."""
    deaths = headers.get(_DEATHS)
    return mapping(deaths[0]).get("time") if isinstance(deaths, list) and deaths else None


class DeadLetters:
    """The dead-letter queue of each queue. What exchanges lead to is looked up once."""

    def __init__(self, api: Api, declarations: Declarations) -> None:
        self._api = api
        self._declarations = declarations
        self._bound: dict[str, list[tuple[str, str]] | Unknown] = {}

    def of(self, queue: str, details: Details | Unknown) -> str | Unknown:
        """The queue with the dead letters of `queue`, or why there is none."""
        declared = self._declarations().get(queue, Declaration())
        settings: Mapping[str, object] = _settings(declared.arguments)
        if _EXCHANGE not in settings and not isinstance(details, Unknown):
            settings = _settings(details.arguments)
        if _EXCHANGE not in settings:
            if isinstance(details, Unknown) or details.policy is None:
                return NO_POLICY
            settings = details.policy
        exchange, key = settings.get(_EXCHANGE), settings.get(_KEY)
        if not isinstance(exchange, str):
            return NONE
        return self._led_to(exchange, text(key) or declared.routing_key or queue)

    def _led_to(self, exchange: str, key: str) -> str | Unknown:
        if not exchange:
            return key
        if exchange not in self._bound:
            self._bound[exchange] = self._queues_of(exchange)
        bound = self._bound[exchange]
        if isinstance(bound, Unknown):
            return bound
        return _only([queue for bound_key, queue in bound if bound_key == key] or _names(bound))

    def _queues_of(self, exchange: str) -> list[tuple[str, str]] | Unknown:
        declared = [
            (each.routing_key, name)
            for name, each in self._declarations().items()
            if each.exchange == exchange
        ]
        asked = self._api.bound(exchange)
        if not isinstance(asked, Unknown):
            return asked
        return declared or Unknown(f"which queue is bound to {exchange}: {asked.reason}")


def _settings(arguments: Mapping[str, object]) -> dict[str, object]:
    """What a queue was declared with, by the names that a policy has for it."""
    return {name: arguments[f"x-{name}"] for name in (_EXCHANGE, _KEY) if f"x-{name}" in arguments}


def _names(bound: Sequence[tuple[str, str]]) -> list[str]:
    return [queue for _, queue in bound]


def _only(queues: Sequence[str]) -> str | Unknown:
    found = sorted(set(queues))
    if len(found) == 1:
        return found[0]
    return Unknown(f"the dead-letter exchange leads to {len(found)} queues")
