"""The wait of a message: ready and not run, without the time that it was scheduled to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Message, Outcome
from otel_queue_plugins.core.metrics import waiting
from tests.core.conftest import ROUTE, START, Queue

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

PREFIX = "taskqueue.task."
NAMES = ("wait", "prefetch_wait", "scheduled_delay")


def waits(span: ReadableSpan) -> tuple[float | None, ...]:
    """wait, prefetch_wait and scheduled_delay, to the microsecond that the carrier has."""
    found = [span.attributes.get(PREFIX + name) for name in NAMES]
    return tuple(None if value is None else round(value, 6) for value in found)


def test_wait_is_the_time_from_enqueue_to_start(queue: Queue) -> None:
    """On the span and in the histogram, which has the attributes of the route only."""
    carrier = queue.send()
    queue.clock.advance(7.25)
    span = queue.process(carrier)
    assert waits(span) == (7.25, None, None)
    [point] = queue.points("taskqueue.task.wait")
    assert (point.count, round(point.sum, 6)) == (1, 7.25)
    assert set(point.attributes) == {
        "messaging.system",
        "messaging.destination.name",
        "taskqueue.task.name",
    }


@pytest.mark.parametrize("side", ["carrier", "delivery"])
def test_countdown_is_scheduled_delay_and_no_wait(queue: Queue, side: str) -> None:
    """The wait begins with the ETA, whether the carrier or the framework has it."""
    eta = START + 30
    carrier = queue.send(eta=eta if side == "carrier" else None)
    queue.clock.advance(32)
    span = queue.process(carrier, eta=eta if side == "delivery" else None)
    assert waits(span) == (2.0, None, 30.0)


def test_backoff_is_scheduled_delay_and_no_wait(queue: Queue) -> None:
    """A retry waits from its own ETA on."""
    operation = queue.start(queue.send())
    queue.clock.advance(5)
    again: dict[str, object] = {}
    queue.telemetry.requeue(operation, again, eta=START + 15)
    queue.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY, delay=10))
    queue.clock.advance(11)
    assert waits(queue.process(again, attempt=2)) == (1.0, None, 10.0)


def test_eta_in_the_past_is_no_scheduled_delay(queue: Queue) -> None:
    """The message was ready when it was enqueued."""
    carrier = queue.send(eta=START - 100)
    queue.clock.advance(1)
    assert waits(queue.process(carrier)) == (1.0, None, 0.0)


@pytest.mark.parametrize(
    ("received", "expected"),
    [(-5, 3.0), (0, 3.0), (1, 2.0), (3, 0.0), (9, 0.0)],
)
def test_prefetch_wait_is_the_time_inside_the_worker(
    queue: Queue, received: float, expected: float
) -> None:
    """From receipt to start, and never more than the wait itself."""
    carrier = queue.send()
    queue.clock.advance(3)
    span = queue.process(carrier, received_at=START + received)
    assert waits(span) == (3.0, expected, None)
    assert queue.points("taskqueue.task.prefetch_wait") == []


def test_prefetch_wait_of_scheduled_message_begins_with_its_eta(queue: Queue) -> None:
    """A worker that holds a message until its ETA does not make it wait."""
    carrier = queue.send(eta=START + 60)
    queue.clock.advance(61)
    assert waits(queue.process(carrier, received_at=START + 1)) == (1.0, 1.0, 60.0)


def test_clock_of_worker_behind_gives_zero_instead_of_negative(queue: Queue) -> None:
    """Waits and durations are never negative."""
    carrier = queue.send(eta=START + 10)
    queue.clock.advance(-3600)
    operation = queue.start(carrier, received_at=START)
    queue.clock.advance(-1)
    queue.telemetry.end_process(operation, SUCCEEDED)
    span = queue.spans("process")[0]
    assert waits(span) == (0.0, 0.0, 10.0)
    assert span.start_time == span.end_time
    assert queue.points("messaging.process.duration")[0].sum == 0


def test_clock_that_steps_back_gives_send_zero_duration(queue: Queue) -> None:
    """The duration of a send is never negative."""
    operation = queue.telemetry.start_send(Message(route=ROUTE, id="m"), {})
    queue.clock.advance(-9)
    queue.telemetry.end_send(operation)
    [span] = queue.spans()
    assert span.start_time == span.end_time
    assert queue.points("messaging.client.operation.duration")[0].sum == 0


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, (None, None, None)),
        ({"enqueued_at": START - 4}, (4.0, None, None)),
        ({"eta": START - 1}, (1.0, None, None)),
        ({"eta": START + 1}, (0.0, None, None)),
        ({"received_at": START - 2}, (None, 2.0, None)),
        ({"eta": START - 1, "received_at": START - 2}, (1.0, 1.0, None)),
        ({"enqueued_at": START - 9, "eta": START - 3}, (3.0, None, 6.0)),
    ],
)
def test_message_without_envelope_uses_times_of_the_framework(
    queue: Queue, facts, expected
) -> None:
    """What is unknown is not guessed."""
    assert waits(queue.process({}, **facts)) == expected
    assert bool(queue.points("taskqueue.task.wait")) == (expected[0] is not None)


def test_scheduled_task_records_drift(queue: Queue) -> None:
    """How late a scheduled task started has its own metric; other tasks have none."""
    carrier = queue.send(trigger="schedule")
    queue.clock.advance(1.5)
    queue.process(carrier)
    queue.process({}, trigger="schedule")
    [point] = queue.points("taskqueue.schedule.drift")
    assert (point.count, round(point.sum, 6)) == (1, 1.5)


times = st.floats(-1e12, 1e12) | st.none()


@given(enqueued=times, eta=times, received=times, started=st.floats(-1e12, 1e12), ours=times)
def test_prefetch_wait_is_never_negative_or_more_than_the_wait(
    enqueued, eta, received, started, ours
) -> None:
    """Whatever the clocks show."""
    delivery = Delivery(route=ROUTE, id="m", enqueued_at=enqueued, eta=eta, received_at=received)
    facts = None if ours is None else Envelope(enqueued_at=ours)
    found = waiting.measure(delivery, facts, started)
    for value in (found.wait, found.prefetch_wait, found.scheduled_delay):
        assert value is None or value >= 0
    if found.wait is not None and found.prefetch_wait is not None:
        assert found.prefetch_wait <= found.wait
