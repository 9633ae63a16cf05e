"""Counts that are true: bounded, shared by those who share a provider, and zero after a fork."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from opentelemetry import metrics, trace

from otel_queue_plugins.core.api import forking
from otel_queue_plugins.core.messages import SUCCEEDED, Ending, Message, Outcome, Route
from otel_queue_plugins.core.metrics import observed
from otel_queue_plugins.core.metrics.tally import MAX_SERIES, Tally
from otel_queue_plugins.core.metrics.templates import MAX_ROUTES, MAX_SERIES_OF_ROUTE
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.conftest import FakeClock
from tests.core.conftest import ROUTE, Queue


def total(queue: Queue, metric: str) -> int:
    """The sum over all series."""
    return sum(point.value for point in queue.points(metric))


def in_child(read: Any) -> Any:
    """What `read()` returns in a forked child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            os.write(writing, json.dumps(read()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def test_a_tally_is_bounded() -> None:
    """2,000 sets of attributes, then one for all others; no count is lost."""
    tally = Tally()
    for number in range(MAX_SERIES + 500):
        tally.add(tally.cell({"n": number}))
    tally.add(tally.cell({"n": 1}))
    found = {json.dumps(dict(one.attributes)): one.value for one in tally.observe(None)}
    assert len(found) == 2001
    assert found['{"otel.metric.overflow": true}'] == 500
    assert found['{"n": 1}'] == 2
    assert sum(found.values()) == 2501


def test_what_was_never_counted_is_no_series() -> None:
    """A series begins with its first count."""
    tally = Tally()
    tally.cell({"n": 1})
    assert tally.observe(None) == []


def test_ten_thousand_tasks(queue: Queue) -> None:
    """Names without end are survived: memory and series stay bounded, counts stay true."""
    for number in range(10_000):
        route = Route(system="redis", destination="shop", task=f"task{number}")
        operation = queue.start({}, route=route)
        queue.telemetry.end_process(operation, SUCCEEDED)
        queue.exporter.clear()
    assert total(queue, "messaging.client.consumed.messages") == 10_000
    assert len(queue.points("messaging.client.consumed.messages")) == MAX_SERIES + 1
    assert len(queue.telemetry._prepare.__self__._known) <= MAX_ROUTES
    assert len(queue.points("taskqueue.worker.in_flight")) <= MAX_ROUTES


def test_exception_types_without_end(queue: Queue) -> None:
    """A task that raises ever new types cannot fill the memory."""
    for number in range(MAX_SERIES_OF_ROUTE + 50):
        error = type(f"Error{number}", (Exception,), {})()
        queue.process({}, Ending(outcome=Outcome.FAILURE, error=error))
    template = queue.telemetry._prepare(ROUTE)
    assert len(template._series) <= MAX_SERIES_OF_ROUTE
    [point] = queue.points("messaging.client.consumed.messages")
    assert point.value == MAX_SERIES_OF_ROUTE + 50


def test_deliveries_in_flight_and_the_oldest(queue: Queue) -> None:
    """Both gauges go up and down, and fall to zero instead of vanishing."""
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


def test_an_abandoned_delivery_is_somebody_elses(queue: Queue) -> None:
    """No span, no count, no duration."""
    queue.telemetry.abandon_process(queue.start({}))
    assert queue.spans() == []
    assert queue.points("messaging.client.consumed.messages") == []
    assert queue.points("messaging.process.duration") == []


def test_two_plugins_on_one_provider_add_up(queue: Queue) -> None:
    """Two brokers, or a plugin that was set up anew: the SDK asks only the first callback."""
    queue.process(queue.send())
    other = queue.sibling()
    running = other.start(other.send())
    assert total(queue, "messaging.client.sent.messages") == 2
    assert total(queue, "taskqueue.worker.in_flight") == 1
    other.telemetry.end_process(running, SUCCEEDED)
    assert total(queue, "messaging.client.consumed.messages") == 2


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_a_worker_reports_its_slots(queue: Queue, early: bool) -> None:
    """Whether it says so before or after the first message; several workers add up."""
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


def test_a_producer_has_no_slots(queue: Queue) -> None:
    """Who runs nothing reports no worker gauges."""
    queue.send()
    assert {name for name in queue.metrics() if "worker" in name} == set()


def test_a_worker_that_knows_only_what_it_holds(queue: Queue) -> None:
    """Each gauge stands for itself."""
    queue.telemetry.observe_worker(capacity=None, reserved=lambda: 3)
    queue.send()
    assert queue.points("taskqueue.worker.capacity") == []
    assert [point.value for point in queue.points("taskqueue.worker.reserved")] == [3]


def test_routes_beyond_the_bound_are_not_in_the_gauges(queue: Queue) -> None:
    """What is in flight on a route that came too late is not shown; nothing breaks."""
    queue.telemetry.connect()
    shared = queue.telemetry._connection.counts
    shared._seen = dict.fromkeys(range(MAX_ROUTES))
    operation = queue.start({})
    shared._seen = {}
    assert list(shared.observe_in_flight(None)) == []
    assert list(shared.observe_longest_running(None)) == []
    queue.telemetry.end_process(operation, SUCCEEDED)


def test_a_worker_that_cannot_tell_is_silent(queue: Queue) -> None:
    """A measure that raises gives no point, and no stack trace at each collection."""

    def broken() -> int:
        raise OSError("gone")

    queue.send()
    queue.telemetry.observe_worker(capacity=broken, reserved=lambda: 1)
    assert queue.points("taskqueue.worker.capacity") == []
    assert [point.value for point in queue.points("taskqueue.worker.reserved")] == [1]


def test_a_forked_child_counts_from_zero(queue: Queue) -> None:
    """Nothing of the parent is counted, in flight or reported by the child."""
    queue.process(queue.send())
    queue.telemetry.observe_worker(capacity=lambda: 4, reserved=lambda: 1)
    running = queue.start({})

    def child() -> dict[str, object]:
        connection = queue.telemetry._connection
        own = {
            "sent": len(connection.counts.sent.observe(None)),
            "consumed": len(connection.counts.consumed.observe(None)),
            "in_flight": len(connection.counts.observe_in_flight(None)),
            "oldest": len(connection.counts.observe_longest_running(None)),
            "capacity": len(connection.counts.observe_capacity(None)),
        }
        queue.telemetry.end_send(queue.telemetry.start_send(_message(), {}))
        [sent] = connection.counts.sent.observe(None)
        return own | {"then": sent.value}

    assert in_child(child) == {
        "sent": 0,
        "consumed": 0,
        "in_flight": 0,
        "oldest": 0,
        "capacity": 0,
        "then": 1,
    }
    queue.telemetry.end_process(running, SUCCEEDED)
    assert total(queue, "messaging.client.sent.messages") == 1
    assert total(queue, "messaging.client.consumed.messages") == 2


def test_a_fork_while_a_lock_is_held(queue: Queue) -> None:
    """Another thread may hold any lock of ours at the moment of a fork."""
    queue.send()
    connection = queue.telemetry._connection
    with connection._lock, connection.counts.sent._lock, connection.counts.consumed._lock:
        assert in_child(lambda: queue.process(queue.send()).name) == "process shop.tasks.ship"
        assert in_child(lambda: connection.observe_worker(capacity=None, reserved=len)) is None


def test_what_children_do_first(
    queue: Queue, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tallies, flights and gauges are emptied; what is gone is passed over."""
    hooks: list[Any] = []
    monkeypatch.setattr(
        os, "register_at_fork", lambda *, after_in_child: hooks.append(after_in_child)
    )
    mine = observed.Counts(fake_clock)
    mine.sent.add(mine.sent.cell({"n": 1}))
    mine.capacity.append(lambda: 4)
    forking.call_in_children(observed.Counts(fake_clock).reset_in_child)
    other = queue.sibling()
    for hook in hooks:
        hook()
    assert [*mine.sent.observe(None), *mine.observe_capacity(None)] == []
    assert other.telemetry.connect()


def test_what_is_gone_is_not_called_in_children() -> None:
    """Plugins that were taken away leave nothing behind but an empty hook."""
    gone = observed.Counts(FakeClock())
    del gone
    assert in_child(lambda: True) is True


def test_systems_without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to do where processes do not fork."""
    monkeypatch.delattr(os, "register_at_fork")
    forking.call_in_children(observed.Counts(FakeClock()).reset_in_child)


def _message() -> Message:
    return Message(route=ROUTE, id="m")


def test_a_tally_may_be_kept_elsewhere() -> None:
    """What another process counts for this one is not counted here; what it refuses is."""
    tally, told = Tally(), []

    def count_remotely(attributes: Any, span_id: int | None) -> bool:
        told.append((dict(attributes), span_id))
        return span_id is not None

    tally.count_remotely = count_remotely
    cell = tally.cell({"n": 1})
    tally.add(cell, 7)
    tally.add(cell)
    assert told == [({"n": 1}, 7), ({"n": 1}, None)]
    assert [one.value for one in tally.observe(None)] == [1]


def test_a_tally_takes_what_others_have_counted() -> None:
    """Into the series of the same attributes; their overflow into the overflow here."""
    tally = Tally()
    tally.add(tally.cell({"n": 1}))
    tally.add_many(tally.remote_cell({"n": 1}), 4)
    tally.add_many(tally.remote_cell({"otel.metric.overflow": True}), 3)
    assert [one.value for one in tally.observe(None)] == [5, 3]
    assert tally.counted() == [{"n": 1}]


def test_what_runs_in_other_processes_is_in_flight(queue: Queue) -> None:
    """Its route has a series from then on, and so has what was counted for other processes."""
    running = [(ROUTE, queue.clock() / 1e9 - 10)]
    assert queue.telemetry.connect()
    queue.telemetry.observe_worker(capacity=None, reserved=None, running=lambda: running)
    here = queue.start({}, id="here")
    queue.process({}, route=Route(system="redis", destination="shop", task="done"))
    assert total(queue, "taskqueue.worker.in_flight") == 2
    assert max(one.value for one in queue.points("taskqueue.worker.longest_running")) == 10
    running.clear()
    assert total(queue, "taskqueue.worker.in_flight") == 1
    assert len(queue.points("taskqueue.worker.in_flight")) == 2
    queue.telemetry.end_process(here, SUCCEEDED)


def test_a_worker_that_cannot_say_what_runs_costs_no_measurement(queue: Queue) -> None:
    """What runs here is told all the same."""
    assert queue.telemetry.connect()
    queue.telemetry.observe_worker(capacity=None, reserved=None, running=lambda: [1 / 0])
    here = queue.start({})
    assert total(queue, "taskqueue.worker.in_flight") == 1
    queue.telemetry.end_process(here, SUCCEEDED)


def test_a_process_that_looks_for_providers_again_goes_on_counting(queue: Queue) -> None:
    """A forked child does, and may find those it had."""
    trace.set_tracer_provider(queue.tracer_provider)
    metrics.set_meter_provider(queue.meter_provider)
    telemetry = QueueTelemetry("celery", clock=queue.clock)
    telemetry.observe_worker(capacity=lambda: 4, reserved=None)
    for _ in range(2):
        telemetry.end_send(telemetry.start_send(Message(route=ROUTE, id="m1"), {}))
        telemetry._connection._reset_in_child()
    assert total(queue, "messaging.client.sent.messages") == 2
    assert total(queue, "taskqueue.worker.capacity") == 4
