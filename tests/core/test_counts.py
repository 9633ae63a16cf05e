"""Counts are exact and bounded, shared by plugins on one provider, and zero after a fork."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import pytest
from opentelemetry import metrics, trace

from otel_queue_plugins.core.api import forking
from otel_queue_plugins.core.messages import SUCCEEDED, Ending, Outcome, Route
from otel_queue_plugins.core.metrics import observed
from otel_queue_plugins.core.metrics.tally import MAX_SERIES, Tally
from otel_queue_plugins.core.route_templates import MAX_ROUTES, MAX_SERIES_OF_ROUTE
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.conftest import FakeClock
from tests.core.conftest import ROUTE, Queue, in_child

OBSERVED = (
    "messaging.client.sent.messages",
    "messaging.client.consumed.messages",
    "taskqueue.worker.in_flight",
    "taskqueue.worker.longest_running",
    "taskqueue.worker.capacity",
    "taskqueue.worker.reserved",
    "taskqueue.worker.scheduled",
    "taskqueue.queue.consumers",
)


def total(queue: Queue, metric: str) -> int:
    """The sum over all series."""
    return sum(point.value for point in queue.points(metric))


def test_tally_beyond_2000_sets_counts_in_overflow_series() -> None:
    """2,000 sets of attributes have a series each, all others one together; no count is lost."""
    tally = Tally()
    for number in range(MAX_SERIES + 500):
        tally.add(tally.cell({"n": number}))
    tally.add(tally.cell({"n": 1}))
    found = {json.dumps(dict(one.attributes)): one.value for one in tally.observe(None)}
    assert len(found) == 2001
    assert found['{"otel.metric.overflow": true}'] == 500
    assert found['{"n": 1}'] == 2
    assert sum(found.values()) == 2501


def test_tally_cell_without_count_has_no_point() -> None:
    """A series begins with its first count."""
    tally = Tally()
    tally.cell({"n": 1})
    assert tally.observe(None) == []


def test_ten_thousand_tasks_keep_series_and_memory_bounded(queue: Queue) -> None:
    """Task names without end keep memory and series bounded, and the counts exact."""
    for number in range(10_000):
        route = Route(system="redis", destination="shop", task=f"task{number}")
        operation = queue.start({}, route=route)
        queue.telemetry.end_process(operation, SUCCEEDED)
        queue.exporter.clear()
    assert total(queue, "messaging.client.consumed.messages") == 10_000
    assert len(queue.points("messaging.client.consumed.messages")) == MAX_SERIES + 1
    assert len(queue.telemetry._template_of.__self__._templates) <= MAX_ROUTES
    assert len(queue.points("taskqueue.worker.in_flight")) <= MAX_ROUTES


def test_many_exception_types_keep_memory_bounded(queue: Queue) -> None:
    """A task that raises ever new types cannot fill the memory; the counts stay exact."""
    for number in range(MAX_SERIES_OF_ROUTE + 50):
        error = type(f"Error{number}", (Exception,), {})()
        queue.process({}, Ending(outcome=Outcome.FAILURE, error=error))
    template = queue.telemetry._template_of(ROUTE)
    assert len(template._series) <= MAX_SERIES_OF_ROUTE
    [point] = queue.points("messaging.client.consumed.messages")
    assert point.value == MAX_SERIES_OF_ROUTE + 50


def test_gauges_of_ended_deliveries_fall_to_zero(queue: Queue) -> None:
    """The gauges follow starts and ends, and fall to zero instead of vanishing."""
    first = queue.start({})
    queue.clock.advance(5)
    second = queue.start({}, route=Route(system="redis", destination="shop", task=ROUTE.task))
    queue.clock.advance(2)
    [running], [oldest] = (
        queue.points("taskqueue.worker.in_flight"),
        queue.points("taskqueue.worker.longest_running"),
    )
    assert (running.value, oldest.value) == (2, 7.0)
    queue.telemetry.end_process(first, SUCCEEDED)
    [oldest] = queue.points("taskqueue.worker.longest_running")
    assert oldest.value == 2.0
    queue.telemetry.abandon_process(second)
    [running], [oldest] = (
        queue.points("taskqueue.worker.in_flight"),
        queue.points("taskqueue.worker.longest_running"),
    )
    assert (running.value, oldest.value) == (0, 0.0)


def test_abandoned_delivery_exports_nothing(queue: Queue) -> None:
    """Another process records it: no span, no count, no duration."""
    queue.telemetry.abandon_process(queue.start({}))
    assert queue.spans() == []
    assert queue.points("messaging.client.consumed.messages") == []
    assert queue.points("messaging.process.duration") == []


def test_two_plugins_on_one_provider_are_summed(queue: Queue) -> None:
    """The SDK calls only the first callback of an instrument, so both count in one place."""
    queue.process(queue.send())
    other = queue.sibling()
    running = other.start(other.send())
    assert total(queue, "messaging.client.sent.messages") == 2
    assert total(queue, "taskqueue.worker.in_flight") == 1
    other.telemetry.end_process(running, SUCCEEDED)
    assert total(queue, "messaging.client.consumed.messages") == 2


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_gauges_of_several_workers_are_summed(queue: Queue, early: bool) -> None:
    """Also if a worker reports before the first message."""
    if not early:
        queue.send()
    queue.telemetry.observe_worker(capacity=lambda: 4, reserved=None)
    queue.telemetry.observe_worker(capacity=lambda: 2, reserved=lambda: 3)
    if early:
        queue.send()
    [capacity], [reserved] = (
        queue.points("taskqueue.worker.capacity"),
        queue.points("taskqueue.worker.reserved"),
    )
    assert (capacity.value, reserved.value) == (6, 3)


def test_worker_counts_itself_for_each_queue_it_consumes(queue: Queue) -> None:
    """Two workers of a process are two consumers of the queue that both have."""
    queue.telemetry.observe_worker(
        capacity=None,
        reserved=None,
        scheduled=lambda: 2,
        consuming=lambda: [("redis", "a"), ("redis", "b")],
    )
    queue.telemetry.observe_worker(
        capacity=None, reserved=None, scheduled=lambda: 3, consuming=lambda: [("redis", "a")]
    )
    queue.send()
    consumers = queue.points("taskqueue.queue.consumers")
    assert {
        (point.attributes["messaging.system"], point.attributes["messaging.destination.name"]): (
            point.value
        )
        for point in consumers
    } == {("redis", "a"): 2, ("redis", "b"): 1}
    assert all(len(point.attributes) == 2 for point in consumers)
    assert [point.value for point in queue.points("taskqueue.worker.scheduled")] == [5]


def test_producer_has_no_worker_gauges(queue: Queue) -> None:
    """A process that runs no worker reports no worker gauges."""
    queue.send()
    assert {name for name in queue.metrics() if "worker" in name} == set()


def test_worker_without_capacity_reports_reserved_only(queue: Queue) -> None:
    """Each gauge is reported for itself."""
    queue.telemetry.observe_worker(capacity=None, reserved=lambda: 3)
    queue.send()
    assert queue.points("taskqueue.worker.capacity") == []
    assert [point.value for point in queue.points("taskqueue.worker.reserved")] == [3]


def test_route_beyond_the_bound_is_not_in_the_gauges(queue: Queue) -> None:
    """The gauges show at most 4,096 routes; later ones are counted, but not shown as in flight."""
    for number in range(MAX_ROUTES):
        route = Route(system="redis", destination="shop", task=f"task{number}")
        queue.telemetry.end_process(queue.start({}, route=route), SUCCEEDED)
    operation = queue.start({})
    for gauge in ("taskqueue.worker.in_flight", "taskqueue.worker.longest_running"):
        assert {point.value for point in queue.points(gauge)} == {0}
    queue.telemetry.end_process(operation, SUCCEEDED)
    assert total(queue, "messaging.client.consumed.messages") == MAX_ROUTES + 1


def test_measure_that_raises_gives_no_point(queue: Queue) -> None:
    """A measure that raises gives no point, and the other gauges are not affected."""

    def broken() -> int:
        raise OSError("gone")

    queue.send()
    queue.telemetry.observe_worker(capacity=broken, reserved=lambda: 1)
    assert queue.points("taskqueue.worker.capacity") == []
    assert [point.value for point in queue.points("taskqueue.worker.reserved")] == [1]


def test_forked_child_counts_from_zero(queue: Queue) -> None:
    """Nothing of the parent is counted, in flight or reported by the child."""
    queue.process(queue.send())
    queue.telemetry.observe_worker(capacity=lambda: 4, reserved=lambda: 1)
    running = queue.start({})

    def child() -> dict[str, object]:
        exported = {metric: len(queue.points(metric)) for metric in OBSERVED}
        queue.send()
        return exported | {"then": total(queue, "messaging.client.sent.messages")}

    assert in_child(child) == dict.fromkeys(OBSERVED, 0) | {"then": 1}
    queue.telemetry.end_process(running, SUCCEEDED)
    assert total(queue, "messaging.client.sent.messages") == 1
    assert total(queue, "messaging.client.consumed.messages") == 2


def test_fork_while_locks_are_held_leaves_child_working(queue: Queue) -> None:
    """Another thread may hold any lock of ours at the moment of a fork."""
    queue.send()
    connection = queue.telemetry._connection
    with connection._lock, connection.counts.sent._lock, connection.counts.consumed._lock:
        assert in_child(lambda: queue.process(queue.send()).name) == "process shop.tasks.ship"
        assert in_child(lambda: connection.observe_worker(capacity=None, reserved=len)) is None


def test_fork_hooks_reset_counts_and_gauges(
    queue: Queue, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hooks empty tallies and gauges; an object that is gone is skipped."""
    hooks: list[Any] = []
    monkeypatch.setattr(
        os, "register_at_fork", lambda *, after_in_child: hooks.append(after_in_child)
    )
    counts = observed.Counts(fake_clock)
    counts.sent.add(counts.sent.cell({"n": 1}))
    counts.capacity.append(lambda: 4)
    forking.call_in_children(observed.Counts(fake_clock).reset_in_child)
    other = queue.sibling()
    for hook in hooks:
        hook()
    assert [*counts.sent.observe(None), *counts.observe_capacity(None)] == []
    assert other.telemetry.connect()


def test_fork_after_counts_were_deleted_raises_nothing() -> None:
    """A plugin that is gone leaves only an empty hook behind."""
    gone = observed.Counts(FakeClock())
    del gone
    assert in_child(lambda: True) is True


def test_system_without_fork_needs_no_hook(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes do not fork, a plugin records as everywhere else."""
    monkeypatch.delattr(os, "register_at_fork")
    sibling = queue.sibling()
    sibling.process(sibling.send())
    assert len(queue.spans()) == 2
    assert total(queue, "messaging.client.sent.messages") == 1


def test_tally_with_remote_counter_counts_only_what_it_refuses() -> None:
    """What another process counts for this one is not counted here; what it refuses is."""
    tally, asked = Tally(), []

    def count_remotely(attributes: Any, span_id: int | None) -> bool:
        asked.append((dict(attributes), span_id))
        return span_id is not None

    tally.count_remotely = count_remotely
    cell = tally.cell({"n": 1})
    tally.add(cell, 7)
    tally.add(cell)
    assert asked == [({"n": 1}, 7), ({"n": 1}, None)]
    assert [one.value for one in tally.observe(None)] == [1]


def test_tally_adds_counts_of_other_processes() -> None:
    """They are added to the series of the same attributes, their overflow to the overflow."""
    tally = Tally()
    tally.add(tally.cell({"n": 1}))
    tally.add_many(tally.remote_cell({"n": 1}), 4)
    tally.add_many(tally.remote_cell({"otel.metric.overflow": True}), 3)
    assert [one.value for one in tally.observe(None)] == [5, 3]
    assert tally.counted() == [{"n": 1}]


def test_deliveries_of_other_processes_are_in_flight(queue: Queue) -> None:
    """Their route has a series from then on, and so has what was counted for other processes."""
    running = [(ROUTE, queue.clock() / 1e9 - 10)]
    assert queue.telemetry.connect()
    queue.telemetry.observe_worker(capacity=None, reserved=None, running=lambda: running)
    own = queue.start({}, id="own")
    queue.process({}, route=Route(system="redis", destination="shop", task="done"))
    assert total(queue, "taskqueue.worker.in_flight") == 2
    assert max(one.value for one in queue.points("taskqueue.worker.longest_running")) == 10
    running.clear()
    assert total(queue, "taskqueue.worker.in_flight") == 1
    assert len(queue.points("taskqueue.worker.in_flight")) == 2
    queue.telemetry.end_process(own, SUCCEEDED)


def test_running_that_raises_keeps_own_deliveries_in_flight(queue: Queue) -> None:
    """What runs in this process is still shown."""
    assert queue.telemetry.connect()
    queue.telemetry.observe_worker(capacity=None, reserved=None, running=lambda: [1 / 0])
    own = queue.start({})
    assert total(queue, "taskqueue.worker.in_flight") == 1
    queue.telemetry.end_process(own, SUCCEEDED)


def test_reconnected_plugin_in_child_reports_once(queue: Queue) -> None:
    """A forked child looks for providers again, and may find the same ones."""
    trace.set_tracer_provider(queue.tracer_provider)
    metrics.set_meter_provider(queue.meter_provider)
    telemetry = QueueTelemetry("celery", clock=queue.clock)
    global_queue = dataclasses.replace(queue, telemetry=telemetry)
    telemetry.observe_worker(capacity=lambda: 4, reserved=None)
    global_queue.send()

    def child() -> list[int]:
        telemetry.observe_worker(capacity=lambda: 4, reserved=None)
        global_queue.send()
        global_queue.send()
        metrics_of_child = "messaging.client.sent.messages", "taskqueue.worker.capacity"
        return [total(queue, metric) for metric in metrics_of_child]

    assert in_child(child) == [2, 4]
    assert total(queue, "messaging.client.sent.messages") == 1
    assert total(queue, "taskqueue.worker.capacity") == 4
