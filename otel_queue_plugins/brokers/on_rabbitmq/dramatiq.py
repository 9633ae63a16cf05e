"""Dramatiq's queues on RabbitMQ: each with a delay queue and a dead-letter queue beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.answers import Unknown
from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Plan, QueueState, Source, State, StoredMessage
from otel_queue_plugins.brokers.formats import dramatiq_messages
from otel_queue_plugins.brokers.formats.dramatiq_messages import Attempts, canonical
from otel_queue_plugins.brokers.formats.values import timestamp
from otel_queue_plugins.brokers.on_rabbitmq import dead_letters, dramatiq_states
from otel_queue_plugins.brokers.on_rabbitmq.dramatiq_states import DEAD, DELAYED
from otel_queue_plugins.brokers.on_rabbitmq.reach import Api
from otel_queue_plugins.brokers.on_rabbitmq.session import Got, Session
from otel_queue_plugins.brokers.on_rabbitmq.shared import OnRabbitmq, taken

_PLACES: Final = {"ready": "", "delayed": DELAYED, "dead": DEAD}
_HELD: Final = "workers hold these; RabbitMQ shows them to nobody else"
_RUNS: Final = "what workers hold will run all the same"
_DEATHS: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count")


class DramatiqOnRabbitmq(OnRabbitmq):
    """See `storage.Storage`. `declared` names the queues that this process declares."""

    def __init__(
        self,
        source: Source,
        session: Session,
        api: Api,
        *,
        declared: Callable[[], Mapping[str, str]],
        attempts: Attempts,
    ) -> None:
        super().__init__(source, session, api)
        self._declared = declared
        self._attempts = attempts

    def names(self, *, search: bool) -> Mapping[str, str]:
        """What is declared; searching, also what the management API lists with a delay queue."""
        declared = dict(self._declared())
        totals = self._api.totals() if search else {}
        listed = {} if isinstance(totals, Unknown) else totals
        found = [name for name in listed if f"{name}{DELAYED}" in listed]
        return dict.fromkeys(found, "found") | declared

    def states(self, queues: Sequence[str], now: float) -> list[QueueState]:
        """See `storage.Storage`."""
        declared = [self._session.declared(queue) for queue in queues]
        totals = self._api.totals()
        return [
            dramatiq_states.state(self._session, self._api, queue, found, totals, now)
            for queue, found in zip(queues, declared, strict=True)
        ]

    def scan(
        self,
        queue: str,
        state: State,
        *,
        at_most: int | None,
        newest_first: bool,
        containing: bytes,
    ) -> Iterator[StoredMessage]:
        """See `storage.Storage`. Of the delayed ones those that no worker has taken."""
        place = self._place(queue, state)
        if not self._session.declared(place):
            return iter(())
        return self._taken(place, state, at_most or 0, self._allowed(place))

    def most_dead(self, queue: str) -> int:
        """See `storage.Storage`."""
        return self._ready(queue + DEAD)

    def take_dead(self, queue: str, at_most: int, *, chosen: bool) -> Iterator[StoredMessage]:
        """See `storage.Storage`."""
        allowed = self._allowed(queue + DEAD) if chosen else None
        return self._taken(queue + DEAD, "dead", at_most, allowed)

    def put_back(self, message: StoredMessage, now: float, cause: SpanContext | None) -> bool:
        """Publish, wait for the broker's word, then remove the dead letter."""
        got = taken(message)
        queue = canonical(dead_letters.origin(got.headers) or message.queue)
        body = dramatiq_messages.renewed(message.raw, queue=queue, now=now, cause=cause)
        kept = {key: value for key, value in got.headers.items() if not key.startswith(_DEATHS)}
        return self._move(got, queue, replace(got, body=body, headers=kept))

    def plan_purge(self, queue: str, state: State) -> Plan:
        """Ready and dead ones; delayed ones where no worker consumes them."""
        place = self._place(queue, state)
        matched = self._ready(place)
        declared = self._session.declared(place)
        if state == "delayed" and declared and declared.consumers:
            raise RefusedError("workers hold delayed messages and will run them: stop them first")
        return Plan(
            queue=queue, state=state, matched=matched, stays=_RUNS if state == "ready" else None
        )

    def purge(self, queue: str, state: State, receipt: str) -> Change:
        """See `storage.Storage`. Nothing is kept."""
        done = self._session.purge(self._place(queue, state))
        return Change(queue=queue, state=state, matched=done, done=done)

    def _place(self, queue: str, state: State) -> str:
        if state not in _PLACES:
            raise RefusedError(_HELD)
        return queue + _PLACES[state]

    def _taken(
        self, place: str, state: State, at_most: int, allowed: int | None
    ) -> Iterator[StoredMessage]:
        for got in self._taking.messages(place, at_most, allowed=allowed, wanted=bool):
            yield self._message(got, canonical(place), state)

    def _message(self, got: Got, queue: str, state: State) -> StoredMessage:
        return dramatiq_messages.message(
            got.body,
            queue=queue,
            state=state,
            place=got,
            died_at=timestamp(dead_letters.died_at(got.headers)),
            redelivered=got.redelivered,
            max_attempts=self._attempts,
        )
