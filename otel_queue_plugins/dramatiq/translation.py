"""Dramatiq's messages as the core's facts. Times are seconds there and milliseconds here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from dramatiq.common import q_name

from otel_queue_plugins.core.messages import BrokerAddress, Delivery, Message, Route
from otel_queue_plugins.core.safety import log_failure
from otel_queue_plugins.dramatiq import actors, message_options, workflow
from otel_queue_plugins.dramatiq.actors import UNKNOWN, ActorFacts, seconds
from otel_queue_plugins.dramatiq.broker import address_of

if TYPE_CHECKING:
    from dramatiq import Broker

    from otel_queue_plugins.dramatiq.attempt import Attempt

_MAX_ROUTES: Final = 4096
_RECEIVED_AT: Final = "_otel_queue_received_at"


class Facts:
    """What is known about the messages of one broker; looked up once per actor and queue."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._address: BrokerAddress | None = None
        self._actors: dict[str, ActorFacts] = {}
        self._routes: dict[tuple[str, str], Route] = {}

    def forget_actors(self) -> None:
        """The middleware of the broker may have changed, and with it the actors' defaults."""
        self._actors.clear()

    def of_traced(self, message: Any) -> ActorFacts | None:
        """The facts of the actor of `message`; None if either says `otel_trace=False`."""
        actor, chosen = self._actor(message), message.options.get(message_options.TRACE)
        traced = actor.traced if chosen is None else chosen is not False
        return actor if traced else None

    def _actor(self, message: Any) -> ActorFacts:
        """UNKNOWN, if it is not declared here."""
        name = message.actor_name
        actor = self._broker.actors.get(name)
        if actor is None:
            return UNKNOWN
        known = self._actors.get(name)
        if known is None or known.actor is not actor:
            known = self._actors[name] = actors.facts_of(self._broker, actor)
        return known

    def sent(
        self, message: Any, actor: ActorFacts, delay: float | None, attempt: Attempt | None
    ) -> Message:
        """`message` as user code sends it, due in `delay` milliseconds."""
        cause = workflow.cause_of(message, attempt)
        route, eta = self._route(message), eta_of(message, delay)
        relation = actors.relation(message.options) or actor.relation
        if cause is workflow.ALONE:
            return Message(route, message.message_id, None, eta, relation)
        return Message(
            route=route,
            id=message.message_id,
            conversation_id=cause.workflow.id if cause.workflow else None,
            eta=eta,
            relation=relation,
            trigger=cause.trigger,
            workflow=cause.workflow,
            membership=cause.membership,
            joins=cause.joins,
        )

    def delivered(self, message: Any, actor: ActorFacts) -> Delivery:
        """`message` as a worker gets it."""
        received = message.__dict__
        message = behind(message)
        terms = actor.terms_of(message.options)
        born_at = seconds(message.message_timestamp)
        return Delivery(  # by position: names would take as long as all the rest
            self._route(message),
            message.message_id,
            None,
            terms.attempt,
            terms.max_attempts,
            terms.priority,
            None,  # why it was sent, and
            None,  # when it is due, the sender knows
            born_at + terms.max_age if terms.max_age and born_at else None,
            terms.requeued_at or born_at,
            received.get(_RECEIVED_AT),
            received.get("redelivered") is True,
        )

    def _route(self, message: Any) -> Route:
        key = (message.queue_name, message.actor_name)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            route = self._routes[key] = self._make_route(message)
        return route

    def _make_route(self, message: Any) -> Route:
        if self._address is None:
            self._address = address_of(self._broker)
        return Route(
            system=self._address.system,
            destination=q_name(message.queue_name),
            task=message.actor_name,
            server_address=self._address.address,
            server_port=self._address.port,
            function=self._actor(message).function,
        )


def behind(message: Any) -> Any:
    """The message that a proxy stands for: each attribute of a proxy costs half a microsecond."""
    return message.__dict__.get("_message", message)


def eta_of(message: Any, delay: object) -> float | None:
    """When `message` is due that is enqueued with this delay (milliseconds).

    In seconds since the epoch. Without a delay it may have an option that says so, which Dramatiq's
    consumers respect.
    """
    if delay is None:
        return seconds(message.options["eta"]) if "eta" in message.options else None
    wait = seconds(delay)
    return None if wait is None else time.time() + wait


def enqueued_at(message: Any) -> float | None:
    """When `message` was enqueued last, as far as Dramatiq knows (seconds since the epoch)."""
    again = seconds(message.options.get("requeue_timestamp"))
    return again or seconds(message.message_timestamp)


def stamp_received(message: Any) -> None:
    """Note that the worker has got `message` now."""
    try:
        message.__dict__[_RECEIVED_AT] = time.time()
    except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
        log_failure("noting when a message arrived")
