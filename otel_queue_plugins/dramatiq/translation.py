"""Translate Dramatiq's messages into the core's `Message` and `Delivery`.

Times are in milliseconds in Dramatiq and in seconds in the core.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from dramatiq.common import q_name

from otel_queue_plugins.core.messages import BrokerAddress, Delivery, Message, Route
from otel_queue_plugins.core.safety import log_failure
from otel_queue_plugins.dramatiq import actors, message_options, workflow
from otel_queue_plugins.dramatiq.actors import UNKNOWN_ACTOR, ActorFacts, seconds
from otel_queue_plugins.dramatiq.broker import address_of

if TYPE_CHECKING:
    from dramatiq import Broker

    from otel_queue_plugins.dramatiq.delivery_state import DeliveryState

_MAX_ROUTES: Final = 4096
_RECEIVED_AT: Final = "_otel_queue_received_at"


class Translation:
    """Translates the messages of one broker; looks up each actor and each route once."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._address: BrokerAddress | None = None
        self._actors: dict[str, ActorFacts] = {}
        self._routes: dict[tuple[str, str], Route] = {}

    def forget_actors(self) -> None:
        """Look up each actor again: the middleware, which has their defaults, may have changed."""
        self._actors.clear()

    def traced_actor(self, message: Any) -> ActorFacts | None:
        """Return the facts of the actor of `message`.

        None if the message, or else the actor, has the option `otel_trace=False`.
        """
        actor, chosen = self._actor(message), message.options.get(message_options.TRACE)
        traced = actor.traced if chosen is None else chosen is not False
        return actor if traced else None

    def _actor(self, message: Any) -> ActorFacts:
        """Return the facts of the actor of `message`; `UNKNOWN_ACTOR` if it is not declared."""
        name = message.actor_name
        actor = self._broker.actors.get(name)
        if actor is None:
            return UNKNOWN_ACTOR
        facts = self._actors.get(name)
        if facts is None or facts.actor is not actor:
            facts = self._actors[name] = actors.facts_of(self._broker, actor)
        return facts

    def to_message(
        self, message: Any, actor: ActorFacts, delay: float | None, state: DeliveryState | None
    ) -> Message:
        """Translate a message that user code sends, with `delay` in milliseconds.

        `state` is the current delivery; None outside of one.
        """
        place = workflow.find_place(message, state)
        route, eta = self._route(message), eta_of(message, delay)
        relation = actors.relation_in(message.options) or actor.relation
        if place is workflow.NO_PLACE:
            return Message(route, message.message_id, None, eta, relation)
        return Message(
            route=route,
            id=message.message_id,
            conversation_id=place.workflow.id if place.workflow else None,
            eta=eta,
            relation=relation,
            trigger=place.trigger,
            workflow=place.workflow,
            membership=place.membership,
            joins=place.joins,
            start=place.start,
        )

    def to_delivery(self, message: Any, actor: ActorFacts) -> Delivery:
        """Translate a message that a worker has received; a proxy, or a plain message."""
        fields = message.__dict__
        message = unwrapped(message)
        options = actor.delivery_options(message.options)
        created_at = seconds(message.message_timestamp)
        return Delivery(  # keywords would double the cost of this method
            self._route(message),
            message.message_id,
            None,
            options.attempt,
            options.max_attempts,
            options.priority,
            None,  # the trigger and
            None,  # the eta are in the envelope
            created_at + options.max_age if options.max_age and created_at else None,
            options.requeued_at or created_at,
            fields.get(_RECEIVED_AT),
            fields.get("redelivered") is True,
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


def unwrapped(message: Any) -> Any:
    """Return the message inside a proxy, whose attributes are slower to read; or `message`."""
    return message.__dict__.get("_message", message)


def eta_of(message: Any, delay: object) -> float | None:
    """Return the earliest start of `message` in seconds since the epoch; None if it has none.

    `delay` is in milliseconds. If it is None, the message may have the option `eta`, which
    Dramatiq's consumers respect.
    """
    if delay is None:
        return seconds(message.options["eta"]) if "eta" in message.options else None
    wait = seconds(delay)
    return None if wait is None else time.time() + wait


def enqueued_at(message: Any) -> float | None:
    """Return when `message` was last enqueued, in seconds since the epoch; None if unknown."""
    requeued_at = seconds(message.options.get("requeue_timestamp"))
    return requeued_at or seconds(message.message_timestamp)


def set_received_at(message: Any) -> None:
    """Keep the current time on `message` as its time of receipt."""
    try:
        message.__dict__[_RECEIVED_AT] = time.time()
    except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
        log_failure("setting the time of receipt")
