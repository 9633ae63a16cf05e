"""Celery's queues in kombu's memory transport: dictionaries of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from otel_queue_plugins.brokers.answers import NO_TIME_OF_CELERY, Age, Unknown, queue_state
from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Plan, QueueState, Source, State, StoredMessage
from otel_queue_plugins.brokers.formats import celery_messages
from otel_queue_plugins.brokers.formats.celery_messages import Attempts
from otel_queue_plugins.brokers.in_memory.shared import Unconnected
from otel_queue_plugins.brokers.names import is_task_queue

IN_WORKERS: Final = Unknown("the memory transport leaves to the workers what they hold")
NO_DEAD: Final = Unknown("the memory transport keeps no dead letters")


class CeleryInMemory(Unconnected):
    """See `storage.Storage`. `queues` are kombu's own, by name; a missing one is not made."""

    def __init__(
        self,
        source: Source,
        queues: Callable[[], Mapping[str, Any]],
        *,
        configured: Callable[[], Mapping[str, str]],
        attempts: Attempts,
    ) -> None:
        super().__init__(source)
        self._queues = queues
        self._configured = configured
        self._attempts = attempts

    def names(self, *, search: bool) -> Mapping[str, str]:
        """What the app declares; searching, also what is there."""
        found = filter(is_task_queue, list(self._queues()) if search else ())
        return dict.fromkeys(found, "found") | dict(self._configured())

    def states(self, queues: Sequence[str], now: float) -> list[QueueState]:
        """Exact for what is ready; the rest only workers know."""
        return [self._state(queue, now) for queue in queues]

    def scan(
        self,
        queue: str,
        state: State,
        *,
        at_most: int | None,
        newest_first: bool,
        containing: bytes,
    ) -> Iterator[StoredMessage]:
        """Ready messages as they are now; there are no others to be seen."""
        if state != "ready":
            raise RefusedError(NO_DEAD.reason if state == "dead" else IN_WORKERS.reason)
        return islice(self._messages(queue), at_most)

    def remove(self, message: StoredMessage, receipt: str) -> bool:
        """See `storage.Storage`."""
        stored = self._queues()[message.queue]
        with stored.mutex:
            if message.place not in stored.queue:
                return False
            stored.queue.remove(message.place)
        return True

    def plan_purge(self, queue: str, state: State) -> Plan:
        """Only what is ready can be taken away."""
        if state != "ready":
            raise RefusedError(NO_DEAD.reason if state == "dead" else IN_WORKERS.reason)
        stays = "what workers hold will run all the same"
        return Plan(queue=queue, state=state, matched=len(self._documents(queue)), stays=stays)

    def purge(self, queue: str, state: State, receipt: str) -> Change:
        """See `storage.Storage`. Nothing is kept."""
        messages = list(self._messages(queue))
        done = sum(self.remove(message, receipt) for message in messages)
        return Change(queue=queue, state=state, matched=len(messages), done=done)

    def _documents(self, queue: str) -> list[Any]:
        stored = self._queues().get(queue)
        if stored is None:
            return []
        with stored.mutex:
            return list(stored.queue)

    def _messages(self, queue: str) -> Iterator[StoredMessage]:
        for document in self._documents(queue):
            yield celery_messages.message(
                celery_messages.of_document(document),
                queue=queue,
                state="ready",
                place=document,
                max_attempts=self._attempts,
            )

    def _state(self, queue: str, now: float) -> QueueState:
        messages = list(self._messages(queue))
        return queue_state(
            queue,
            self.source.system,
            ready=len(messages),
            delayed=IN_WORKERS,
            unacked=IN_WORKERS,
            dead=NO_DEAD,
            oldest_age_s=_oldest(messages, now),
            oldest_unacked_age_s=IN_WORKERS,
            abandoned=0,
            consumers=IN_WORKERS,
        )


def _oldest(messages: Sequence[StoredMessage], now: float) -> Age:
    if not messages:
        return 0.0
    age = messages[0].age(now)
    return NO_TIME_OF_CELERY if age is None else age
