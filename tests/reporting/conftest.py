"""A reader and leases of the test's own, and a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.brokers.answers import Unknown, queue_state
from otel_queue_plugins.brokers.leases import Held
from otel_queue_plugins.reporting.gauges import QueueGauges
from otel_queue_plugins.reporting.polling import SHOWN_INTERVALS, Polling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_queue_plugins.brokers.facts import QueueState

INTERVAL = 10.0


def state(name: str, **given: Any) -> QueueState:
    """The state of a queue of which is known what is given."""
    fields = (
        *("ready", "delayed", "unacked", "dead", "abandoned", "consumers"),
        *("oldest_age_s", "oldest_unacked_age_s"),
    )
    return queue_state(name, "redis", **{each: given.get(each, Unknown("why")) for each in fields})


@dataclass
class Clock:
    """Seconds, moved by the test."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Broker:
    """Reader and leases in one: fails with `error`, and lends until the end of time."""

    clock: Clock
    aged: tuple[Any, ...] = ("ready",)
    error: Exception | None = None
    held: Held | None = None
    depth: int = 3
    asked: list[Sequence[str]] = field(default_factory=list)
    closed: int = 0

    def states(self, queues: Sequence[str]) -> list[QueueState]:
        self.asked.append(tuple(queues))
        if self.error:
            raise self.error
        return [state(name, ready=self.depth, oldest_age_s=1.5) for name in queues]

    def leases(self, _owner: str, lifetime: float, _timeout: float) -> Broker:
        self.lifetime = lifetime
        return self

    def hold(self, queues: Sequence[str]) -> Held:
        if self.error:
            raise self.error
        return self.held or Held(until=dict.fromkeys(queues, self.clock() + self.lifetime))

    def close(self) -> None:
        self.closed += 1


@dataclass
class Desk:
    """One reporter without threads."""

    clock: Clock
    broker: Broker
    gauges: QueueGauges
    polling: Polling

    def depths(self) -> dict[Any, float]:
        """What the depth gauge shows now, by queue."""
        return {
            each.attributes["messaging.destination.name"]: each.value
            for each in self.gauges.observe_depth(None)
        }


@pytest.fixture
def desk() -> Desk:
    """With an interval of 10 s and no jitter."""
    clock = Clock()
    broker, gauges = Broker(clock), QueueGauges(INTERVAL * SHOWN_INTERVALS, clock)
    polling = Polling(
        lambda: broker,
        lambda: ["a", "b"],
        gauges,
        interval=INTERVAL,
        leases=True,
        clock=clock,
        jitter=lambda low, high: (low + high) / 2,
    )
    return Desk(clock, broker, gauges, polling)
