"""When a look at a queue on RabbitMQ may cost a message: each look counts as a delivery."""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.formats.values import number
from otel_queue_plugins.brokers.on_rabbitmq.management import Details
from otel_queue_plugins.brokers.on_rabbitmq.session import Got

DEFAULT_LIMIT: Final = 20  # of quorum queues since RabbitMQ 4.0
LEAST_LIMIT: Final = 10
COUNT: Final = "x-delivery-count"

HINDRANCE: Final = (
    "a look takes messages of RabbitMQ and gives them back: it marks them as redelivered, may "
    "reorder them, and counts against the delivery limit of a quorum queue; --disturb does it"
)


def allowed(queue: str, details: Details | None) -> int | None:
    """How often a message may have been delivered when a look is over; None: no matter.

    RefusedError where a look, or a few of them, could be what ends a message.
    """
    if details is None:
        raise RefusedError(
            f"whether {queue} is a quorum queue with a delivery limit, which a look counts "
            "against, only the management API tells: name it with --management-url"
        )
    if details.kind == "classic":
        return None
    if details.kind != "quorum":
        raise RefusedError(f"{queue} is of the type {details.kind}, which cannot be looked into")
    named = [
        details.arguments.get("x-delivery-limit"),
        (details.policy or {}).get("delivery-limit"),
    ]
    limit = min((each for each in map(number, named) if each is not None), default=DEFAULT_LIMIT)
    if limit < LEAST_LIMIT:
        raise RefusedError(
            f"{queue} gives up a message after {limit} deliveries, and each look counts as one"
        )
    return limit // 2


def check(queue: str, got: Got, most: int | None) -> None:
    """Raise RefusedError if giving `got` back would bring it past the number of `allowed`."""
    count = number(got.headers.get(COUNT)) or 0
    if most is not None and count + 1 > most:
        raise RefusedError(
            f"a message of {queue} was delivered {count + 1} times, half of what its limit "
            "allows: further looks would have it dropped or dead-lettered"
        )
