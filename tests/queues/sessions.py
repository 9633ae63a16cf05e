"""AMQP without a broker."""

from __future__ import annotations

from otel_queue_plugins.brokers.on_rabbitmq.session import Declared, Got, UnroutableError


class BrokenError(Exception):
    """What this client library raises."""


class FakeSession:
    """A broker of lists. `broken` names calls that fail, `headers` are those of each message."""

    errors = (BrokenError, UnroutableError)
    timeouts = (TimeoutError,)

    def __init__(self, **queues: list[bytes]) -> None:
        self.queues = queues
        self.broken: set[str] = set()
        self.headers: dict[str, object] = {"x-death": [{"queue": "orders.DQ"}]}
        self.properties: dict[str, object] = {}
        self.published: list[Got] = []
        self.is_open = True
        self.held: dict[int, tuple[str, bytes]] = {}

    def declared(self, queue: str) -> Declared | None:
        self._check("declared")
        if queue not in self.queues:
            return None
        return Declared(ready=len(self.queues[queue]), consumers=0)

    def get(self, queue: str) -> Got | None:
        self._check("get")
        if not self.queues[queue]:
            return None
        tag, body = len(self.held) + 1, self.queues[queue].pop(0)
        self.held[tag] = queue, body
        return Got(
            tag=tag, body=body, headers=self.headers, properties=self.properties, redelivered=False
        )

    def ack(self, got: Got) -> None:
        self._check("ack")
        del self.held[got.tag]

    def give_back(self, got: Got) -> None:
        queue, body = self.held.pop(got.tag)
        self.queues[queue].insert(0, body)

    def publish(self, queue: str, got: Got) -> None:
        self._check("publish")
        if queue not in self.queues:
            raise UnroutableError(queue)
        self.queues[queue].append(got.body)
        self.published.append(got)

    def purge(self, queue: str) -> int:
        purged, self.queues[queue] = len(self.queues[queue]), []
        return purged

    def close(self) -> None:
        self.is_open = False

    def _check(self, call: str) -> None:
        if call in self.broken:
            raise BrokenError(f"{call} failed")
        self.is_open = True
