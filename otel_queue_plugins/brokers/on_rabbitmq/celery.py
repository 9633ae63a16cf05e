"""Celery's queues on RabbitMQ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.answers import Unknown
from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Plan, QueueState, Source, State, StoredMessage
from otel_queue_plugins.brokers.formats import celery_messages, celery_renewal
from otel_queue_plugins.brokers.formats.celery_messages import Attempts
from otel_queue_plugins.brokers.formats.values import text, timestamp
from otel_queue_plugins.brokers.names import is_task_queue
from otel_queue_plugins.brokers.on_rabbitmq import celery_states, dead_letters, reach
from otel_queue_plugins.brokers.on_rabbitmq.dead_letters import DeadLetters, Declarations
from otel_queue_plugins.brokers.on_rabbitmq.management import Details
from otel_queue_plugins.brokers.on_rabbitmq.reach import Api
from otel_queue_plugins.brokers.on_rabbitmq.session import Got, Session
from otel_queue_plugins.brokers.on_rabbitmq.shared import OnRabbitmq, taken

BINDINGS_SECONDS: Final = 300  # for so long an exchange is taken to lead where it led
HELD: Final = "workers hold these; RabbitMQ shows them to nobody else"
RUNS: Final = "what workers hold, tasks with an ETA among it, will run all the same"


class CeleryOnRabbitmq(OnRabbitmq):
    """See `storage.Storage`. `configured` are names of queues, `declarations` their settings."""

    def __init__(
        self,
        source: Source,
        session: Session,
        api: Api,
        *,
        configured: Callable[[], Mapping[str, str]],
        declarations: Declarations,
        attempts: Attempts,
    ) -> None:
        super().__init__(source, session, api)
        self._configured = configured
        self._declarations = declarations
        self._attempts = attempts
        self._letters = DeadLetters(api, declarations)
        self._letters_read_at = 0.0

    def names(self, *, search: bool) -> Mapping[str, str]:
        """What the app declares; searching, also what the management API lists."""
        totals = self._api.totals() if search else {}
        listed = () if isinstance(totals, Unknown) else filter(is_task_queue, totals)
        return dict.fromkeys(listed, "found") | dict(self._configured())

    def states(self, queues: Sequence[str], now: float) -> list[QueueState]:
        """See `storage.Storage`."""
        if now - self._letters_read_at > BINDINGS_SECONDS:
            self._letters = DeadLetters(self._api, self._declarations)
            self._letters_read_at = now
        declared = [self._session.declared(queue) for queue in queues]
        totals = self._api.totals()
        details = {queue: reach.details(self._api, queue, totals) for queue in queues}
        letters = self._targets(details)
        return [
            celery_states.state(
                self._session, queue, found, totals, details[queue], letters[queue], now
            )
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
        """See `storage.Storage`."""
        place = self._place(queue, state)
        if not self._session.declared(place):
            return iter(())
        return self._taken(place, queue, state, at_most or 0, self._allowed(place))

    def most_dead(self, queue: str) -> int:
        """See `storage.Storage`. Where several queues share one for their dead letters, all."""
        return self._ready(self._place(queue, "dead"))

    def take_dead(self, queue: str, at_most: int, *, chosen: bool) -> Iterator[StoredMessage]:
        """See `storage.Storage`."""
        place = self._place(queue, "dead")
        alone = isinstance(self._targets({queue: self._api.details(queue)})[queue], str)
        allowed = None if alone and not chosen else self._allowed(place)
        return self._taken(place, queue, "dead", at_most, allowed)

    def put_back(self, message: StoredMessage, now: float, cause: SpanContext | None) -> bool:
        """Publish, wait for the broker's word, then remove the dead letter."""
        got = taken(message)
        headers = celery_renewal.headers_of(got.headers, now=now, cause=cause)
        return self._move(got, message.queue, replace(got, headers=headers))

    def plan_purge(self, queue: str, state: State) -> Plan:
        """Ready ones; dead ones, if no other queue has its dead letters in the same place."""
        place = self._place(queue, state)
        if state == "dead":
            target = self._targets({queue: self._api.details(queue)})[queue]
            if isinstance(target, Unknown):
                raise RefusedError(target.reason)
        return Plan(
            queue=queue,
            state=state,
            matched=self._ready(place),
            stays=RUNS if state == "ready" else None,
        )

    def purge(self, queue: str, state: State, receipt: str) -> Change:
        """See `storage.Storage`. Nothing is kept."""
        done = self._session.purge(self._place(queue, state))
        return Change(queue=queue, state=state, matched=done, done=done)

    def close(self) -> None:
        """See `storage.Storage`."""
        super().close()
        self._letters = DeadLetters(self._api, self._declarations)

    def _place(self, queue: str, state: State) -> str:
        """The queue on the broker that messages of `state` lie in."""
        if state == "ready":
            return queue
        if state != "dead":
            raise RefusedError(HELD if state == "unacked" else celery_states.IN_WORKERS.reason)
        target = self._letters.of(queue, self._api.details(queue))
        if isinstance(target, Unknown):
            raise RefusedError(target.reason)
        return target

    def _targets(self, details: Mapping[str, Details | Unknown]) -> dict[str, str | Unknown]:
        """The dead-letter queue of each, unknown where others have their dead letters there, too.

        How many of them belong to which queue, only a look at each would tell.
        """
        asked = {queue: self._letters.of(queue, said) for queue, said in details.items()}
        others = {
            name: self._letters.of(name, reach.NO_API)
            for name in self._declarations()
            if name not in asked
        }
        used = Counter(target for target in (asked | others).values() if isinstance(target, str))
        return {
            queue: Unknown(f"{target} has dead letters of {used[target]} queues")
            if isinstance(target, str) and used[target] > 1
            else target
            for queue, target in asked.items()
        }

    def _taken(
        self, place: str, queue: str, state: State, at_most: int, allowed: int | None
    ) -> Iterator[StoredMessage]:
        def wanted(got: Got) -> bool:
            return state != "dead" or dead_letters.origin(got.headers) == queue

        for got in self._taking.messages(place, at_most, allowed=allowed, wanted=wanted):
            yield self._message(got, queue, state)

    def _message(self, got: Got, queue: str, state: State) -> StoredMessage:
        found = celery_messages.message(
            celery_messages.Envelope(
                headers=got.headers,
                properties=got.properties,
                content_type=text(got.properties.get("content_type")),
                encoded=got.body,
            ),
            queue=queue,
            state=state,
            place=got,
            max_attempts=self._attempts,
        )
        died_at = timestamp(dead_letters.died_at(got.headers))
        return replace(found, died_at=died_at, redelivered=got.redelivered)
