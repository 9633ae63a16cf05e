"""What the queues of both frameworks on RabbitMQ have in common."""

from __future__ import annotations

from dataclasses import replace

from otel_queue_plugins.brokers.answers import Unknown
from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Source, State, StoredMessage
from otel_queue_plugins.brokers.leases import Leases
from otel_queue_plugins.brokers.on_rabbitmq import limits
from otel_queue_plugins.brokers.on_rabbitmq.leases import QueueLocks
from otel_queue_plugins.brokers.on_rabbitmq.reach import Api
from otel_queue_plugins.brokers.on_rabbitmq.session import Got, Session, UnroutableError
from otel_queue_plugins.brokers.on_rabbitmq.taking import Taking

_GONE = ("expiration",)


class OnRabbitmq:
    """The half of `storage.Storage` that knows no framework."""

    def __init__(self, source: Source, session: Session, api: Api) -> None:
        self.source = source
        self.errors = session.errors
        self.timeouts = session.timeouts
        self.aged: tuple[State, ...] = ("ready",) if api.management else ()
        self._session = session
        self._api = api
        self._taking = Taking(session)

    @property
    def is_connected(self) -> bool:
        """See `storage.Storage`."""
        return self._session.is_open

    def hindrance(self, queue: str, state: State) -> str | None:
        """See `storage.Storage`."""
        return limits.HINDRANCE

    def remove(self, message: StoredMessage, receipt: str) -> bool:
        """Refused: others would not get the messages that stay, while one is looked for."""
        raise RefusedError("RabbitMQ removes all ready messages of a queue, or none")

    def undo(self, queue: str) -> Change:
        """Refused: nothing is kept."""
        raise RefusedError("RabbitMQ keeps nothing of what was purged")

    def leases(self, owner: str, lifetime: float, timeout: float) -> Leases:
        """See `storage.Storage`."""
        return QueueLocks(self._session, lifetime, timeout)

    def close(self) -> None:
        """See `storage.Storage`."""
        self._session.close()
        self._taking = Taking(self._session)

    def _ready(self, queue: str) -> int:
        """How many messages of a queue nobody holds; RefusedError if there is no such queue."""
        declared = self._session.declared(queue)
        if declared is None:
            raise RefusedError(f"there is no queue {queue}")
        return declared.ready

    def _allowed(self, queue: str) -> int | None:
        details = self._api.details(queue)
        return limits.allowed(queue, None if isinstance(details, Unknown) else details)

    def _move(self, got: Got, queue: str, changed: Got) -> bool:
        """Publish `changed`, wait until the broker has it, and only then remove `got`.

        A crash in between leaves both: one too many, never one too few.
        """
        if not self._taking.holds(got):
            return False
        kept = {key: value for key, value in changed.properties.items() if key not in _GONE}
        try:
            self._session.publish(queue, replace(changed, properties=kept))
        except UnroutableError as error:
            raise RefusedError(f"there is no queue {queue} any more") from error
        return self._taking.settle(got)


def taken(message: StoredMessage) -> Got:
    """The message as it was taken off the queue."""
    if not isinstance(message.place, Got):
        raise RefusedError(f"{message.id} was not taken off a queue")
    return message.place
