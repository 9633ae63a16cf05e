"""The state of queues as metrics of real workers: against the truth, from one writer at a time."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.queues import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import App, Lab
    from tests.brokers.harness_producer import Producer
    from tests.processes import ManagedProcess

INTERVAL = 2.0
ON = {"OTEL_QUEUE_STATE": "on", "OTEL_QUEUE_STATE_INTERVAL": str(INTERVAL)}
QUICK = {**ON, "OTEL_QUEUE_STATE_INTERVAL": "0.5"}
DEPTH = "taskqueue.queue.depth"
AGE = "taskqueue.queue.oldest_age"
QUEUE = "messaging.destination.name"
STATE = "taskqueue.queue.state"
INSTANCE = "service.instance.id"
FRAMEWORKS = ("celery", "dramatiq")
SEND = {"celery": "wait.delay()", "dramatiq": "wait.send()"}
LATER = {
    "celery": "wait.apply_async(countdown=3600)",
    "dramatiq": "wait.send_with_options(delay=3600_000)",
}


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    """Each one."""
    found: str = request.param
    return found


@pytest.fixture
def app(own_lab: Lab, framework: str) -> App:
    """Tasks that wait until the gate is open."""
    own_lab.environment = {"GATE": str(own_lab.directory / "gate"), "QUEUE_STATE_TEST": "1"}
    return own_lab.module(f"tests.brokers.apps.queue_{framework}")


@pytest.fixture
def sender(own_lab: Lab, app: App, framework: str) -> Iterator[Producer]:
    """Somebody who sends; the queues exist."""
    producer = own_lab.producer(app)
    if own_lab.broker.system == "rabbitmq" and framework == "celery":
        producer.run("declare()")
    yield producer
    (own_lab.directory / "gate").touch()


def work(
    lab: Lab, app: App, framework: str, env: dict[str, str], *, name: str = "w", **more: Any
) -> ManagedProcess:
    """Start a worker of two slots that consumes the app's queue alone."""
    if framework == "dramatiq":
        return lab.dramatiq(app, env=env)
    arguments = ["-n", f"{name}@test", "-Q", app.queue, *more.pop("arguments", ())]
    return lab.celery(app, env=env, arguments=arguments, **more)


def values(lab: Lab, metric: str, app: App) -> dict[str, float | None]:
    """The last values of a metric of the app's queue, by state."""
    found = lab.receiver.latest_points(metric, **{QUEUE.replace(".", "__"): app.queue})
    return {str(each.attributes.get(STATE, "")): each.value for each in found}


def total(lab: Lab, metric: str) -> float:
    """Of the worker."""
    return sum(each.value or 0 for each in lab.receiver.latest_points(metric))


def worker_gauges(lab: Lab) -> dict[str, float]:
    """What the worker says of itself."""
    names = ("in_flight", "capacity", "reserved", "scheduled")
    return {name: total(lab, f"taskqueue.worker.{name}") for name in names}


@pytest.mark.parametrize("relay", ["off", "on"])
def test_gauges_show_what_is_in_the_queue_and_in_the_worker(
    own_lab: Lab, app: App, sender: Producer, framework: str, relay: str
) -> None:
    """Ready, delayed and held messages, slots, and who consumes; what is unknown is absent."""
    if relay == "on" and framework == "dramatiq":
        pytest.skip("the relay is for forked pools of Celery")
    sender.run(f"for _ in range(3): {LATER[framework]}")
    work(own_lab, app, framework, {**QUICK, "OTEL_QUEUE_RELAY": relay})
    until(lambda: total(own_lab, "taskqueue.worker.scheduled") == 3, lambda: "scheduled")
    sender.run(f"for _ in range(20): {SEND[framework]}")
    held = 8 if framework == "celery" else 4
    expected = {"in_flight": 2, "capacity": 2, "reserved": held - 2, "scheduled": 3}
    ready = 20 - held
    depths = {"ready": ready}
    if own_lab.broker.system == "redis":
        depths |= {"unacked": held, "delayed": 3}
    if framework == "dramatiq":
        depths |= {"dead": 0}
    until(
        lambda: worker_gauges(own_lab) == expected and values(own_lab, DEPTH, app) == depths,
        lambda: f"{worker_gauges(own_lab)} {values(own_lab, DEPTH, app)}",
    )
    assert values(own_lab, "taskqueue.queue.consumers", app) == {"": 1}
    if own_lab.broker.system == "redis":
        assert values(own_lab, "taskqueue.queue.abandoned", app) == {"": 0}
        until(lambda: (values(own_lab, AGE, app).get("ready") or 0) > 1, lambda: "an age")
        assert (values(own_lab, AGE, app)["ready"] or 0) < 60
    else:
        assert "ready" not in values(own_lab, AGE, app)
    (consumers,) = own_lab.receiver.latest_points("taskqueue.queue.consumers")
    assert INSTANCE in consumers.resource
    states = {DEPTH, AGE, "taskqueue.queue.abandoned"}
    for point in own_lab.receiver.points():
        assert (INSTANCE not in point.resource) == (point.name in states), point.name
    (own_lab.directory / "gate").touch()
    until(
        lambda: (
            values(own_lab, DEPTH, app)["ready"] == 0
            and total(own_lab, "taskqueue.worker.in_flight") == 0
        ),
        lambda: f"{values(own_lab, DEPTH, app)} {worker_gauges(own_lab)}",
    )
    longest = own_lab.receiver.latest_points("taskqueue.worker.longest_running")
    assert any(each.name for each in longest)


def writers(lab: Lab, since: float) -> set[str]:
    """The services that reported depth since then (seconds since the epoch)."""
    return {
        each.service
        for each in lab.receiver.points()
        if each.name == DEPTH and each.time_ns > since * 1e9
    }


@pytest.mark.timing
def test_another_worker_reports_within_two_intervals_after_the_writer_was_killed(
    own_lab: Lab,
    app: App,
    sender: Producer,
    framework: str,
    record_property: Any,
) -> None:
    """One of three workers reports, under a resource that is nobody's own."""
    running = {
        name: work(
            own_lab,
            app,
            framework,
            {**ON, "OTEL_SERVICE_NAME": name},
            name=name,
            arguments=["--max-tasks-per-child=1"],
        )
        for name in ("w1", "w2", "w3")
    }
    (own_lab.directory / "gate").touch()
    until(lambda: len(writers(own_lab, 0)) == 1, lambda: f"{writers(own_lab, 0)}")
    # Children that are forked now inherit the connections of the reporter.
    sender.run(f"for _ in range(24): {SEND[framework]}")
    done = "messaging.client.consumed.messages"
    own_lab.receiver.expect_total(done, 24, timeout=40)
    (writer,) = writers(own_lab, 0)
    killed_at = time.time()
    # Celery's children outlive their parent for a moment, and Dramatiq's for good.
    if framework == "celery":
        os.kill(running[writer].pid, signal.SIGKILL)
    else:
        os.killpg(running[writer].pid, signal.SIGKILL)
    others = running.keys() - {writer}
    until(lambda: writers(own_lab, killed_at) & others, lambda: "a new writer")
    took = time.time() - killed_at
    record_property("fail_over_intervals", took / INTERVAL)
    assert took <= 2 * INTERVAL
    after = time.time()
    until(lambda: writers(own_lab, after), lambda: "more points")
    assert len(writers(own_lab, killed_at + 0.5)) == 1
    kept = [
        tuple(sorted((k, str(v)) for k, v in each.resource.items() if k != "service.name"))
        for each in own_lab.receiver.points()
        if each.name == DEPTH
    ]
    assert len(set(kept)) == 1


@pytest.mark.timing
def test_stopped_writer_gives_its_queues_back_at_once(
    own_lab: Lab, app: App, sender: Producer, framework: str
) -> None:
    """A restart costs no interval, and the worker ends in time."""
    del sender
    env = {**ON, "OTEL_QUEUE_STATE_INTERVAL": "2"}
    first = work(own_lab, app, framework, {**env, "OTEL_SERVICE_NAME": "w1"}, name="w1")
    until(lambda: writers(own_lab, 0) == {"w1"}, lambda: "w1")
    work(own_lab, app, framework, {**env, "OTEL_SERVICE_NAME": "w2"}, name="w2")
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait(20) == 0
    ended = time.time()
    until(lambda: "w2" in writers(own_lab, ended), lambda: "w2")
    assert time.time() - ended < 3.5
    assert "Traceback" not in first.log
