"""What the gauges of queues show of what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.brokers.leases import Held
from otel_queue_plugins.reporting.gauges import QueueGauges
from tests.points import points_of
from tests.reporting.conftest import state

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

COMMON = {"messaging.system": "redis", "messaging.destination.name": "q"}
HELD = Held(until={"q": 1e12})


def shown(reader: InMemoryMetricReader, name: str) -> dict[str | None, float]:
    """The points of a metric by state; each has the common attributes."""
    points = points_of(reader, f"taskqueue.queue.{name}")
    assert all(COMMON.items() <= dict(point.attributes).items() for point in points)
    return {point.attributes.get("taskqueue.queue.state"): point.value for point in points}


def test_known_numbers_have_points_and_unknown_ones_none(
    meter_provider: MeterProvider, metric_reader: InMemoryMetricReader
) -> None:
    """0 is a number; what is unknown is absent."""
    gauges = QueueGauges(20, lambda: 0)
    gauges.register(meter_provider)
    assert shown(metric_reader, "depth") == {}
    known = state("q", ready=0, unacked=4, oldest_age_s=1.5, oldest_unacked_age_s=2.0, abandoned=1)
    gauges.show([known], HELD, 0)
    assert shown(metric_reader, "depth") == {"ready": 0, "unacked": 4}
    assert shown(metric_reader, "oldest_age") == {"ready": 1.5, "unacked": 2.0}
    assert shown(metric_reader, "abandoned") == {None: 1}
    gauges.show([state("q", dead=2, delayed=3)], HELD, 0)
    assert shown(metric_reader, "depth") == {"dead": 2, "delayed": 3}
    assert shown(metric_reader, "oldest_age") == {}
    assert shown(metric_reader, "abandoned") == {}


def test_age_that_can_never_be_known_is_not_0_while_the_queue_is_empty(
    meter_provider: MeterProvider, metric_reader: InMemoryMetricReader
) -> None:
    """A last value of 0 would hide the age of the messages that come."""
    gauges = QueueGauges(20, lambda: 0)
    gauges.register(meter_provider)
    gauges.show([state("q", oldest_age_s=0.0, oldest_unacked_age_s=0.0)], HELD, 0, ("ready",))
    assert shown(metric_reader, "oldest_age") == {"ready": 0}
