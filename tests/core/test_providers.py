"""Providers: given, global, set before or after, or set up by this package."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry import baggage, context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Message
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.version import VERSION
from tests.core.conftest import ROUTE, Queue, in_child
from tests.points import points_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import TracerProvider

    from tests.conftest import FakeClock

THREADS = 8


def once(telemetry: QueueTelemetry) -> None:
    """Send and process one message."""
    carrier: dict[str, object] = {}
    telemetry.end_send(telemetry.start_send(Message(route=ROUTE, id="m"), carrier))
    operation = telemetry.start_process(Delivery(route=ROUTE, id="m"), carrier)
    telemetry.end_process(operation, SUCCEEDED)


def test_global_providers_set_before_are_used_from_the_first_message(queue: Queue) -> None:
    """Both signals of the first message are recorded."""
    trace.set_tracer_provider(queue.tracer_provider)
    metrics.set_meter_provider(queue.meter_provider)
    once(QueueTelemetry("celery"))
    assert len(queue.spans()) == 2
    assert len(queue.points("messaging.process.duration")) == 1


def test_global_providers_set_after_record_only_later_messages(queue: Queue) -> None:
    """The same plugin records them."""
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
def test_second_provider_is_used_once_it_is_set(queue: Queue, first: str) -> None:
    """The signal that has a provider is recorded before."""
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


def test_set_up_is_called_once_with_signals_without_provider(queue: Queue) -> None:
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


def test_connect_by_many_threads_exports_each_message_once(queue: Queue) -> None:
    """Threads that connect at the same time use one connection, and no count is lost."""
    together = threading.Barrier(THREADS)

    def work() -> None:
        together.wait(60)
        once(queue.telemetry)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.telemetry.connect()
    assert len(queue.spans()) == 2 * THREADS
    for metric in ("messaging.client.sent.messages", "messaging.client.consumed.messages"):
        assert [point.value for point in queue.points(metric)] == [THREADS]


def test_lookups_without_provider_are_limited_and_restart_in_child(queue: Queue) -> None:
    """After 100 look-ups there are ten a second; a forked child looks at once."""
    looks: list[int] = []
    telemetry = QueueTelemetry("celery", set_up=lambda *_: looks.append(1))
    for _ in range(5000):
        once(telemetry)
    assert len(looks) < 5000
    trace.set_tracer_provider(queue.tracer_provider)

    def child() -> int:
        once(telemetry)
        return len(queue.spans())

    assert in_child(child) == 2


def test_scope_has_name_version_and_schema_url(queue: Queue) -> None:
    """The schema URL names the version of the conventions."""
    queue.send()
    scope = queue.spans()[0].instrumentation_scope
    assert (scope.name, scope.version) == ("otel_queue_plugins", VERSION)
    assert scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"


def test_late_meter_provider_sums_all_plugins(
    fake_clock: FakeClock, tracer_provider: TracerProvider
) -> None:
    """Plugins from before and after it count in one place, and nothing is dropped."""
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
def test_delivery_without_provider_or_context_can_be_skipped(
    carrier: dict[str, object] | None, *, expected: bool
) -> None:
    """A context in the carrier must be restored, so it needs the verbs."""
    assert QueueTelemetry("celery").can_skip(carrier) is expected


def test_delivery_with_provider_or_log_correlation_cannot_be_skipped(queue: Queue) -> None:
    """It needs spans and counts, or the task on log records."""
    assert not queue.telemetry.can_skip({})
    assert not QueueTelemetry("celery", options=Options(log_correlation=True)).can_skip({})


def test_write_current_context_without_provider_injects_it() -> None:
    """A trace does not end at a process that records nothing."""
    carrier: dict[str, object] = {"otq": "stale"}
    token = context.attach(baggage.set_baggage("user", "7"))
    QueueTelemetry("celery").write_current_context(carrier)
    context.detach(token)
    assert carrier == {"baggage": "user=7"}


def test_providers_are_those_given_or_the_global_ones(queue: Queue) -> None:
    """An adapter reports the state of queues to where the measurements go."""
    assert queue.telemetry.tracer_provider is queue.tracer_provider
    assert queue.telemetry.meter_provider is queue.meter_provider
    assert QueueTelemetry("celery").tracer_provider is trace.get_tracer_provider()
    assert QueueTelemetry("celery").meter_provider is metrics.get_meter_provider()


def test_set_up_that_sends_by_itself_connects_once(queue: Queue) -> None:
    """The message that asked for providers and the one of the set-up are both recorded."""

    def set_up(*_signals: str) -> None:
        trace.set_tracer_provider(queue.tracer_provider)
        metrics.set_meter_provider(queue.meter_provider)
        once(telemetry)

    telemetry = QueueTelemetry("celery", set_up=set_up)
    once(telemetry)
    assert len(queue.spans()) == 4
    assert [point.value for point in queue.points("messaging.client.sent.messages")] == [2]


def test_child_that_connects_again_counts_from_zero(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked child looks for providers anew, and may find the same ones; it is no worker."""
    in_children: list[Callable[[], None]] = []
    monkeypatch.setattr(
        os, "register_at_fork", lambda *, after_in_child: in_children.append(after_in_child)
    )
    trace.set_tracer_provider(queue.tracer_provider)
    metrics.set_meter_provider(queue.meter_provider)
    telemetry = QueueTelemetry("celery")
    telemetry.observe_worker(capacity=lambda: 4, reserved=None)
    once(telemetry)
    for call in in_children:
        call()
    once(telemetry)
    assert queue.points("taskqueue.worker.capacity") == []
    assert [point.value for point in queue.points("messaging.client.sent.messages")] == [1]
