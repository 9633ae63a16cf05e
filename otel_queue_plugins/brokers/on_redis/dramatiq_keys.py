"""The keys that Dramatiq keeps its queues under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ASIDE_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The keys of one queue: ready or delayed ids, their bodies, dead ids, their bodies."""

    ids: str
    bodies: str
    delayed_ids: str
    delayed_bodies: str
    dead_ids: str
    dead_bodies: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """`heartbeat_timeout` is in seconds: who says nothing for so long counts as gone."""

    namespace: str = "dramatiq"
    heartbeat_timeout: float = 60

    def family(self, queue: str) -> Family:
        """The keys of `queue`."""
        name = f"{self.namespace}:{queue}"
        return Family(
            ids=name,
            bodies=f"{name}.msgs",
            delayed_ids=f"{name}.DQ",
            delayed_bodies=f"{name}.DQ.msgs",
            dead_ids=f"{name}.XQ",
            dead_bodies=f"{name}.XQ.msgs",
        )

    @property
    def heartbeats(self) -> str:
        """The sorted set of who used this broker, by time in milliseconds; producers, too."""
        return f"{self.namespace}:__heartbeats__"

    def fetched(self, worker: str, queue: str) -> list[str]:
        """The sets of what a worker has fetched and not acked: of the queue and its delay queue."""
        name = f"{self.namespace}:__acks__.{worker}.{queue}"
        return [name, f"{name}.DQ"]

    @property
    def leases(self) -> str:
        """What comes before the name of a queue in the key of its lease; as for `receipts`."""
        return f"otq:reporter:{self.namespace}:"

    def receipts(self, queue: str) -> str:
        """The purges of a queue that can be undone; outside the namespace, which tools list."""
        return f"otq:purged:{self.namespace}:{queue}"

    def aside(self, queue: str, receipt: str) -> list[str]:
        """Where a purge puts what it takes away: ids and bodies."""
        name = f"{self.receipts(queue)}:{receipt}"
        return [name, f"{name}.msgs"]
