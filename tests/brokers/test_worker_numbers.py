"""The metrics of a whole worker in one place, whichever process is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import CONSUMED

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)

COUNT = f"""
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

def counted(requests):
    return [
        sum(
            point.as_int
            for resource in ExportMetricsServiceRequest.FromString(request).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics if metric.name == "{CONSUMED}"
            for point in metric.sum.data_points
        )
        for request in requests
    ]
"""
DRAMATIQ = (
    COUNT
    + """
import json
import time
import dramatiq
from dramatiq.middleware import Middleware
from otel_queue_plugins.dramatiq import instrument
from otel_queue_plugins.sdk.relay import numbers
from tests.brokers.apps.settings import QUEUE, dramatiq_broker

broker = dramatiq_broker()
instrument(broker)

def show():
    while True:
        found = counted(numbers.of_worker(5))
        print("numbers", json.dumps(sorted(found)), flush=True)
        time.sleep(0.1)

class Showing(Middleware):
    @property
    def forks(self):
        return [show]

    def after_process_boot(self, broker):
        numbers.answer()

broker.add_middleware(Showing())

@dramatiq.actor(queue_name=QUEUE)
def nap():
    time.sleep(0.05)
"""
)
CELERY = (
    COUNT
    + """
import json
import threading
import time
from celery import Celery, signals
from otel_queue_plugins.celery import instrument
from otel_queue_plugins.sdk.relay import numbers
from tests.brokers.apps.settings import celery_settings

app = Celery("numbers")
app.conf.update(celery_settings())
instrument(app)

def show():
    while True:
        found = counted(numbers.of_worker(5))
        print("numbers", json.dumps(sorted(found)), flush=True)
        time.sleep(0.1)

@signals.worker_ready.connect
def ready(**_):
    threading.Thread(target=show, daemon=True).start()

@app.task(name="nap")
def nap():
    time.sleep(0.05)
"""
)


def test_a_fork_of_dramatiq_asks_the_processes_of_its_worker(own_lab: Lab) -> None:
    """Each answers with its own numbers, and they add up to what ran."""
    app = own_lab.app(DRAMATIQ)
    producer = own_lab.producer(app)
    worker = own_lab.dramatiq(app, processes=2, threads=1)
    producer.run("for n in range(12): nap.send()")
    worker.wait_for_log(r"numbers \[\d+, \d+\]")
    own_lab.receiver.until(lambda: sum(shown(worker.log)) == 12, "12 counted")
    assert len(shown(worker.log)) == 2


def test_the_main_process_of_a_pool_has_the_numbers_of_all(own_lab: Lab) -> None:
    """With one exporter for the worker: also of processes that have ended."""
    app = own_lab.app(CELERY)
    producer = own_lab.producer(app)
    worker = own_lab.celery(
        app, env={"OTEL_QUEUE_RELAY": "on"}, arguments=["--max-tasks-per-child=2"]
    )
    producer.run("for n in range(12): nap.delay()")
    own_lab.receiver.until(lambda: shown(worker.log) == [12], "12 counted in one place")


def shown(log: str) -> list[int]:
    """What was shown last."""
    lines = [line for line in log.splitlines() if "numbers [" in line]
    found: list[int] = json.loads(lines[-1].partition("numbers ")[2]) if lines else []
    return found
