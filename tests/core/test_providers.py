"""Providers: one's own, the global ones, set before, after, or by the set-up of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Message
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.version import VERSION
from tests.core.conftest import ROUTE, Queue
from tests.points import points_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import TracerProvider

    from tests.conftest import FakeClock


def once(telemetry: QueueTelemetry) -> None:
    """Send and process one message."""
    carrier: dict[str, object] = {}
    telemetry.end_send(telemetry.start_send(Message(route=ROUTE, id="m"), carrier))
    operation = telemetry.start_process(Delivery(route=ROUTE, id="m"), carrier)
    telemetry.end_process(operation, SUCCEEDED)


def test_global_providers_set_before(queue: Queue) -> None:
    """They are used from the first message on."""
    trace.set_tracer_provider(queue.tracer_provider)
    metrics.set_meter_provider(queue.meter_provider)
    once(QueueTelemetry("celery"))
    assert len(queue.spans()) == 2
    assert len(queue.points("messaging.process.duration")) == 1


def test_global_providers_set_after(queue: Queue) -> None:
    """Messages before are not recorded, those after are, by the same plugin."""
    telemetry = QueueTelemetry("celery")
    once(telemetry)
    assert not telemetry.connect()
    trace.set_tracer_provider(queue.tracer_provider)
    metrics.set_meter_provider(queue.meter_provider)
    once(telemetry)
    assert telemetry.connect()
    assert len(queue.spans()) == 2
    assert [point.value for point in queue.points("messaging.client.consumed.messages")] == [1]


@pytest.mark.parametrize("first", ["traces", "metrics"])
def test_one_provider_before_the_other(queue: Queue, first: str) -> None:
    """What comes later is used from then on."""
    telemetry = QueueTelemetry("celery")
    setters: list[Callable[[], None]] = [
        lambda: trace.set_tracer_provider(queue.tracer_provider),
        lambda: metrics.set_meter_provider(queue.meter_provider),
    ]
    if first == "metrics":
        setters.reverse()
    for set_one in setters:
        set_one()
        once(telemetry)
    assert len(queue.spans()) == (4 if first == "traces" else 2)
    [point] = queue.points("messaging.process.duration")
    assert point.count == (2 if first == "metrics" else 1)


def test_set_up_is_asked_only_for_signals_that_nobody_has_set_a_provider_for(queue: Queue) -> None:
    """On first need, and not once there are providers."""
    asked: list[tuple[str, ...]] = []

    def set_up(*signals: str) -> None:
        asked.append(signals)
        if "traces" in signals:
            trace.set_tracer_provider(queue.tracer_provider)
            metrics.set_meter_provider(queue.meter_provider)

    once(QueueTelemetry("celery", tracer_provider=queue.tracer_provider, set_up=set_up))
    assert asked == [("metrics",)]
    telemetry = QueueTelemetry("celery", set_up=set_up)
    assert asked == [("metrics",)]
    once(telemetry)
    once(telemetry)
    assert asked == [("metrics",), ("traces", "metrics")]
    assert len(queue.spans()) == 6


def test_a_race_to_connect_is_won_once(queue: Queue) -> None:
    """A thread that comes second finds the connection made."""
    telemetry = queue.telemetry
    assert telemetry.connect()
    tracer = telemetry._connection.tracer
    assert telemetry._connection.connect()
    assert telemetry._connection.tracer is tracer


def test_looking_for_providers_does_not_cost_for_ever(queue: Queue) -> None:
    """After many looks in vain there are ten a second; a forked child looks at once."""
    looks: list[int] = []
    telemetry = QueueTelemetry("celery", set_up=lambda *_: looks.append(1))
    for _ in range(5000):
        once(telemetry)
    assert len(looks) < 5000
    trace.set_tracer_provider(queue.tracer_provider)
    telemetry._connection._reset_in_child()
    once(telemetry)
    assert len(queue.spans()) == 2


def test_the_scope_is_ours(queue: Queue) -> None:
    """Name, version and the conventions that the names are from."""
    queue.send()
    scope = queue.spans()[0].instrumentation_scope
    assert (scope.name, scope.version) == ("otel_queue_plugins", VERSION)
    assert scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"


def test_a_meter_provider_that_comes_late_serves_all(
    fake_clock: FakeClock, tracer_provider: TracerProvider
) -> None:
    """Who came before it and who comes after it count in one place, and nothing is dropped."""
    trace.set_tracer_provider(tracer_provider)
    early = QueueTelemetry("celery", clock=fake_clock)
    assert early.connect()
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    late = QueueTelemetry("dramatiq", clock=fake_clock)
    for telemetry in (early, late):
        telemetry.end_send(telemetry.start_send(Message(route=ROUTE, id="m1"), {}))
    [point] = points_of(reader, "messaging.client.sent.messages")
    assert point.value == 2


@pytest.mark.parametrize(
    ("carrier", "expected"),
    [(None, True), ({}, True), ({"traceparent": "x"}, False), ({"other": "x"}, True)],
)
def test_what_nobody_listens_to_needs_no_verb(
    carrier: dict[str, object] | None, *, expected: bool
) -> None:
    """Unless something came with it that has to be handed on to what the task does."""
    assert QueueTelemetry("celery").can_skip(carrier) is expected


def test_what_somebody_listens_to_needs_its_verbs(queue: Queue) -> None:
    """Spans and counts, and log records that name the task."""
    assert not queue.telemetry.can_skip({})
    assert not QueueTelemetry("celery", options=Options(log_correlation=True)).can_skip({})


def test_a_context_is_handed_on_where_nobody_listens() -> None:
    """A trace does not end at a process that records nothing."""
    carrier: dict[str, object] = {"otq": "stale"}
    token = context.attach(baggage.set_baggage("user", "7"))
    QueueTelemetry("celery").write_current_context(carrier)
    context.detach(token)
    assert carrier == {"baggage": "user=7"}
