"""What a worker consumes, and what it holds for a later time."""

from __future__ import annotations

from time import monotonic
from typing import Any

from celery.worker.request import Request

from otel_queue_plugins.celery import broker
from otel_queue_plugins.celery.copying import copied


class Consumed:
    """Of one `celery.worker.consumer.Consumer`, as it is when it is asked for."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def names(self) -> list[str]:
        """The queues, also those of `add_consumer`; none while the worker has no connection."""
        consumer = getattr(self._consumer, "task_consumer", None)
        return [] if consumer is None else [queue.name for queue in consumer.queues]

    def queues(self) -> list[tuple[str, str]]:
        """The queues, each with `messaging.system`."""
        system = broker.address_of(self._consumer.app, reading=True).system
        return [(system, name) for name in self.names()]

    def scheduled(self) -> int:
        """The number of messages whose ETA has not come.

        The timer of each pool keeps its entries under the same name, as a heap or as a set of
        greenlets. Its public `queue` sorts a copy.
        """
        now = monotonic()
        timer = getattr(self._consumer.timer, "schedule", self._consumer.timer)
        waiting = copied(timer._queue)  # noqa: SLF001 - see above
        return sum(1 for each in waiting if each.eta > now and _is_message(each.entry))


def _is_message(entry: Any) -> bool:
    first = next(iter(entry.args or ()), None)
    return isinstance(first, Request) and not entry.canceled
