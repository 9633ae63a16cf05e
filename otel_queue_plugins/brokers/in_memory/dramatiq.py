"""Dramatiq's queues in its StubBroker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.answers import NO_TIME_OF_DRAMATIQ, Age, Unknown, queue_state
from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Plan, QueueState, Source, State, StoredMessage
from otel_queue_plugins.brokers.formats import dramatiq_messages
from otel_queue_plugins.brokers.formats.dramatiq_messages import Attempts
from otel_queue_plugins.brokers.in_memory.shared import Unconnected

NO_TIMES: Final = Unknown("the StubBroker does not note when a message was taken")
NO_CONSUMERS: Final = Unknown("the StubBroker does not know who consumes")
HELD: Final = "workers of this process hold these"

_DELAYED: Final = ".DQ"


class DramatiqInMemory(Unconnected):
    """See `storage.Storage`. `broker` is a StubBroker; no queue is declared by looking."""

    def __init__(
        self,
        source: Source,
        broker: Any,
        *,
        declared: Callable[[], Mapping[str, str]],
        attempts: Attempts,
    ) -> None:
        super().__init__(source)
        self._broker = broker
        self._declared = declared
        self._attempts = attempts

    def names(self, *, search: bool) -> Mapping[str, str]:
        """What is declared."""
        return self._declared()

    def states(self, queues: Sequence[str], now: float) -> list[QueueState]:
        """Exact in every state."""
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
        """Of the delayed ones those that no worker has taken."""
        if state == "unacked":
            raise RefusedError(HELD)
        return islice(self._messages(queue, state), at_most)

    def most_dead(self, queue: str) -> int:
        """See `storage.Storage`."""
        return len(self._dead(queue))

    def take_dead(self, queue: str, at_most: int, *, chosen: bool) -> Iterator[StoredMessage]:
        """See `storage.Storage`."""
        return islice(self._messages(queue, "dead"), at_most)

    def remove(self, message: StoredMessage, receipt: str) -> bool:
        """See `storage.Storage`."""
        if message.state == "dead":
            return self._forget(message)
        name = message.queue + (_DELAYED if message.state == "delayed" else "")
        stored = self._broker.queues[name]
        with stored.mutex:
            if message.raw not in stored.queue:
                return False
            stored.queue.remove(message.raw)
        stored.task_done()
        return True

    def put_back(self, message: StoredMessage, now: float, cause: SpanContext | None) -> bool:
        """See `storage.Storage`."""
        body = dramatiq_messages.renewed(message.raw, queue=message.queue, now=now, cause=cause)
        if not self._forget(message):
            return False
        self._broker.queues[message.queue].put(body)
        return True

    def plan_purge(self, queue: str, state: State) -> Plan:
        """See `storage.Storage`."""
        if state == "unacked":
            raise RefusedError(HELD)
        matched = len(list(self._messages(queue, state)))
        return Plan(queue=queue, state=state, matched=matched)

    def purge(self, queue: str, state: State, receipt: str) -> Change:
        """See `storage.Storage`. Nothing is kept."""
        messages = list(self._messages(queue, state))
        done = sum(self.remove(message, receipt) for message in messages)
        return Change(queue=queue, state=state, matched=len(messages), done=done)

    def _forget(self, message: StoredMessage) -> bool:
        for letters in self._letters(message.queue):
            if message.place in letters:
                letters.remove(message.place)
                return True
        return False

    def _letters(self, queue: str) -> list[list[Any]]:
        every = self._broker.dead_letters_by_queue
        return [every[name] for name in (queue, queue + _DELAYED) if name in every]

    def _dead(self, queue: str) -> list[Any]:
        return [each for letters in self._letters(queue) for each in letters]

    def _bodies(self, name: str) -> tuple[list[bytes], int]:
        """What waits in a queue, and how many of it workers hold."""
        stored = self._broker.queues.get(name)
        if stored is None:
            return [], 0
        with stored.mutex:
            return list(stored.queue), stored.unfinished_tasks - len(stored.queue)

    def _messages(self, queue: str, state: State) -> Iterator[StoredMessage]:
        if state == "dead":
            found = [(letter.encode(), letter) for letter in self._dead(queue)]
        else:
            name = queue + (_DELAYED if state == "delayed" else "")
            found = [(body, None) for body in self._bodies(name)[0]]
        for body, place in found:
            yield dramatiq_messages.message(
                body, queue=queue, state=state, place=place, max_attempts=self._attempts
            )

    def _state(self, queue: str, now: float) -> QueueState:
        waiting, held = self._bodies(queue)
        delayed, held_delayed = self._bodies(queue + _DELAYED)
        return queue_state(
            queue,
            self.source.system,
            ready=len(waiting),
            delayed=len(delayed) + held_delayed,
            unacked=held,
            dead=len(self._dead(queue)),
            oldest_age_s=self._oldest(queue, now),
            oldest_unacked_age_s=NO_TIMES if held else 0.0,
            abandoned=0,
            consumers=NO_CONSUMERS,
        )

    def _oldest(self, queue: str, now: float) -> Age:
        first = next(self._messages(queue, "ready"), None)
        if first is None:
            return 0.0
        age = first.age(now)
        return NO_TIME_OF_DRAMATIQ if age is None else age
