"""What workers say of themselves on every pool, and whose exporters and queues they report with."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.brokers.moments import REDIS
from tests.brokers.queues import until
from tests.brokers.test_own_providers import OWN
from tests.http_client import Client
from tests.services import free_port

if TYPE_CHECKING:
    from tests.brokers.harness import App, Lab

DEPTH = "taskqueue.queue.depth"
CONSUMERS = "taskqueue.queue.consumers"
QUEUE = "messaging.destination.name"
QUICK = {"OTEL_QUEUE_STATE": "on", "OTEL_QUEUE_STATE_INTERVAL": "0.5"}
# Slots, and what the worker holds with four prefetched for each. A pool of greenlets makes the
# worker wait for a slot with the first message that finds none.
POOLS = {"prefork": (2, 8), "threads": (2, 8), "gevent": (2, 3), "eventlet": (2, 3), "solo": (1, 1)}


def app_of(lab: Lab, framework: str) -> App:
    """Tasks that wait until the gate is open."""
    lab.environment = {"GATE": str(lab.directory / "gate")}
    return lab.module(f"tests.brokers.apps.queue_{framework}")


def gauges(lab: Lab) -> dict[str, float]:
    """What the worker says of itself."""
    names = ("in_flight", "capacity", "reserved", "scheduled")
    return {
        name: sum(
            each.value or 0 for each in lab.receiver.latest_points(f"taskqueue.worker.{name}")
        )
        for name in names
    }


def depths(lab: Lab, **attributes: Any) -> dict[Any, float | None]:
    """The last depth of ready messages, by queue."""
    points = lab.receiver.latest_points(DEPTH, taskqueue__queue__state="ready", **attributes)
    return {each.attributes[QUEUE]: each.value for each in points}


@REDIS
@pytest.mark.parametrize("pool", POOLS)
def test_pool_of_celery_reports_what_it_runs_and_holds(own_lab: Lab, pool: str) -> None:
    """Running, waiting for a slot, waiting for their time; and the queue, from a greenlet, too."""
    if pool in {"gevent", "eventlet"}:
        pytest.importorskip(pool)
    app = app_of(own_lab, "celery")
    producer = own_lab.producer(app)
    producer.run("for _ in range(3): wait.apply_async(countdown=3600)")
    concurrency, held = POOLS[pool]
    own_lab.celery(app, pool=pool, concurrency=concurrency, env=QUICK)
    until(lambda: gauges(own_lab)["scheduled"] == 3, lambda: f"{gauges(own_lab)}")
    assert gauges(own_lab)["capacity"] == concurrency
    producer.run("for _ in range(12): wait.delay()")
    busy = {
        "in_flight": concurrency,
        "capacity": concurrency,
        "reserved": held - concurrency,
        "scheduled": 3,
    }
    until(lambda: gauges(own_lab) == busy, lambda: f"{gauges(own_lab)}")
    client = redis.Redis.from_url(own_lab.broker.url)
    until(
        lambda: depths(own_lab).get(app.queue) == client.llen(app.queue) < 12,
        lambda: f"{depths(own_lab)}",
    )
    client.close()
    longest = own_lab.receiver.latest_points("taskqueue.worker.longest_running")
    assert max(each.value or 0 for each in longest) > 0
    (own_lab.directory / "gate").touch()
    idle = {"in_flight": 0, "capacity": concurrency, "reserved": 0, "scheduled": 3}
    until(lambda: gauges(own_lab) == idle, lambda: f"{gauges(own_lab)}")


def test_greenlets_of_dramatiq_report_what_they_run_and_hold(own_lab: Lab) -> None:
    """And the state of the queue, while the hub has other things to do."""
    pytest.importorskip("gevent")
    app = app_of(own_lab, "dramatiq")
    producer = own_lab.producer(app)
    producer.run("for _ in range(3): wait.send_with_options(delay=3600_000)")
    command = [str(Path(sysconfig.get_path("scripts")) / "dramatiq-gevent"), app.module]
    own_lab.processes.start(
        "dramatiq-gevent",
        [*command, "-p", "1", "-t", "2"],
        env=own_lab.env("worker", app, QUICK),
        cwd=own_lab.directory,
    ).wait_for_log("Worker process is ready for action", timeout=30)
    until(lambda: gauges(own_lab)["scheduled"] == 3, lambda: f"{gauges(own_lab)}")
    producer.run("for _ in range(12): wait.send()")
    expected = {"in_flight": 2, "capacity": 2, "reserved": 2, "scheduled": 3}
    until(lambda: gauges(own_lab) == expected, lambda: f"{gauges(own_lab)}")
    until(lambda: depths(own_lab).get(app.queue) == 8, lambda: f"{depths(own_lab)}")
    (own_lab.directory / "gate").touch()
    until(lambda: depths(own_lab).get(app.queue) == 0, lambda: f"{depths(own_lab)}")


def test_two_processes_of_dramatiq_are_two_consumers_and_one_writer(own_lab: Lab) -> None:
    """Each has an instance id of its own for what it says of itself. `/metrics` shows all of it."""
    app, client = app_of(own_lab, "dramatiq"), Client(free_port())
    own_lab.dramatiq(app, processes=2, env={**QUICK, "OTEL_QUEUE_HTTP": str(client.port)})
    until(
        lambda: sum(each.value or 0 for each in own_lab.receiver.latest_points(CONSUMERS)) == 2,
        lambda: "two consumers",
    )
    until(lambda: depths(own_lab) == {app.queue: 0}, lambda: f"{depths(own_lab)}")
    series = own_lab.receiver.latest_points(DEPTH, taskqueue__queue__state="ready")
    assert len(series) == 1
    until(lambda: "taskqueue_queue_depth{" in client.get("/metrics").body, lambda: "its depth")
    lines = client.get("/metrics").body.splitlines()
    (ready,) = [
        each for each in lines if each.startswith("taskqueue_queue_depth{") and '"ready"' in each
    ]
    assert "pid" not in ready
    assert ready.split()[1].startswith("0")


@REDIS
def test_queues_follow_add_consumer_and_cancel_consumer(own_lab: Lab) -> None:
    """And the numbers of consumers with them."""
    app = app_of(own_lab, "celery")
    producer = own_lab.producer(app)
    own_lab.celery(app, env=QUICK)
    until(lambda: app.queue in depths(own_lab), lambda: "the queue")
    producer.run("app.control.add_consumer('later', reply=True, timeout=30)")
    until(lambda: "later" in depths(own_lab), lambda: f"{depths(own_lab)}")
    until(lambda: len(own_lab.receiver.latest_points(CONSUMERS)) == 2, lambda: "consumers")
    producer.run("app.control.cancel_consumer('later', reply=True, timeout=30)")
    client = redis.Redis.from_url(own_lab.broker.url)
    until(lambda: not client.exists("otq:reporter:later"), lambda: "the lease is given back")
    assert client.exists(f"otq:reporter:{app.queue}")
    client.close()


@REDIS
def test_exporters_of_the_application_carry_the_state_of_queues(own_lab: Lab) -> None:
    """With the application's resource, less its instance."""
    app = own_lab.app(f"""
from celery import Celery
from opentelemetry import metrics
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings
{OWN["metrics"]}
app = Celery("shop")
app.conf.update(celery_settings())
instrument(app)
""")
    own_lab.celery(app, env=QUICK)
    until(lambda: app.queue in depths(own_lab), lambda: "the queue")
    (point,) = own_lab.receiver.latest_points(DEPTH, taskqueue__queue__state="ready")
    assert point.service == "own"
    assert "service.instance.id" not in point.resource


@REDIS
def test_user_that_may_not_hold_a_lease_is_told_the_setting(own_lab: Lab) -> None:
    """One line; the worker works. With the setting it reports."""
    app, url = app_of(own_lab, "dramatiq"), own_lab.broker.url
    client = redis.Redis.from_url(url)
    client.acl_setuser(
        "narrow", enabled=True, passwords=["+pw"], keys=["dramatiq*"], categories=["+@all"]
    )
    narrow = url.replace("redis://", "redis://narrow:pw@")
    worker = own_lab.dramatiq(app, env={**QUICK, "BROKER_URL": narrow})
    worker.wait_for_log("OTEL_QUEUE_STATE_LEASE=off", timeout=30)
    assert worker.log.count("OTEL_QUEUE_STATE_LEASE=off") == 1
    assert depths(own_lab) == {}
    own_lab.dramatiq(app, env={**QUICK, "BROKER_URL": narrow, "OTEL_QUEUE_STATE_LEASE": "off"})
    until(lambda: app.queue in depths(own_lab), lambda: "the queue")
    client.acl_deluser("narrow")
    client.close()
