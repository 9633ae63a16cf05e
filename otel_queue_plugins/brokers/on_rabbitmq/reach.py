"""Numbers of queues on RabbitMQ that both frameworks need, and why one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from otel_queue_plugins.brokers.answers import Age, Count, Unknown
from otel_queue_plugins.brokers.on_rabbitmq.management import (
    Details,
    Management,
    ManagementError,
    Totals,
)

NO_API: Final = Unknown("only the management API tells; its URL was not named")
NO_QUEUE: Final = Unknown("there is no such queue on the broker")
NO_TIMES: Final = Unknown("RabbitMQ does not tell when a message was delivered")
GIVES_BACK: Final = Unknown("RabbitMQ itself gives back what a worker held that is gone")
NO_STAMP: Final = Unknown(
    "the oldest message has no AMQP time stamp, or lies in a quorum queue, which does not tell it"
)


@dataclass(frozen=True, slots=True)
class Api:
    """The management API as far as it can be asked; `None` for one whose URL nobody named."""

    management: Management | None

    def totals(self) -> Mapping[str, Totals] | Unknown:
        """The totals of all queues, or why there are none."""
        if self.management is None:
            return NO_API
        try:
            return self.management.totals()
        except ManagementError as error:
            return Unknown(str(error))

    def details(self, queue: str) -> Details | Unknown:
        """What is said of one queue, or why nothing is."""
        if self.management is None:
            return NO_API
        try:
            return self.management.details(queue)
        except ManagementError as error:
            return Unknown(str(error))

    def bound(self, exchange: str) -> list[tuple[str, str]] | Unknown:
        """Routing key and queue of what is bound to an exchange, or why that is not known."""
        if self.management is None:
            return NO_API
        try:
            return self.management.bound(exchange)
        except ManagementError as error:
            return Unknown(str(error))


def details(api: Api, queue: str, totals: Mapping[str, Totals] | Unknown) -> Details | Unknown:
    """What is said of one queue; not asked for if the API did not answer a moment ago."""
    return totals if isinstance(totals, Unknown) else api.details(queue)


def unacked(totals: Mapping[str, Totals] | Unknown, queue: str) -> Count:
    """What consumers of `queue` hold."""
    if isinstance(totals, Unknown):
        return totals
    count = totals[queue].unacked if queue in totals else None
    return NO_QUEUE if count is None else count


def oldest(ready: int, said: Details | Unknown, now: float) -> Age:
    """The age of the oldest ready message. RabbitMQ shows its time stamp, if a sender set one.

    The one it shows of an empty queue is that of a message which is gone.
    """
    if not ready:
        return 0.0
    if isinstance(said, Unknown):
        return said
    stamp = said.head_timestamp
    return NO_STAMP if stamp is None else max(0.0, now - stamp)
