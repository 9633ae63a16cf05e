"""Providers made before a worker forks, and a main process that exports between its forks.

On Redis alone: what a fork does to telemetry does not depend on the broker.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import APART, CELERY, CONSUMED, OUTCOME, RESTING
from tests.brokers.zero_code import install_distro, launcher
from tests.processes import wait_for_end
from tests.receiver import Fault, GrpcReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import App, Lab
    from tests.processes import ManagedProcess

CAPACITY = "taskqueue.worker.capacity"
RESERVED = "taskqueue.worker.reserved"
FORKS, ALIVE = 50, 8
INSTANCE = "service.instance.id"
BY_USER = {"PROVIDERS": "user"}
GIVEN = {"OTEL_RESOURCE_ATTRIBUTES": f"{INSTANCE}=mine"}

PLAIN_CELERY = """
from celery import Celery
from tests.brokers.apps.settings import celery_settings

app = Celery("plain")
app.conf.update(celery_settings())

@app.task(name="ok")
def ok(*_):
    pass
"""
PLAIN_DRAMATIQ = """
import sys
import dramatiq
from tests.brokers.apps.settings import QUEUE, dramatiq_broker

dramatiq_broker()

@dramatiq.actor(queue_name=QUEUE, actor_name="ok")
def ok(*_):
    sys.stdout.write("ok ran\\n")
"""

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


@pytest.fixture
def protocol_lab(own_lab: Lab, protocol: str) -> Iterator[Lab]:
    """A lab whose processes export over that protocol."""
    if protocol == "http":
        yield own_lab
        return
    with GrpcReceiver() as receiver:
        lab = replace(own_lab, receiver=receiver)
        yield lab
        lab.close()


@pytest.mark.parametrize(("protocol", "given"), [("http", GIVEN), ("grpc", {})])
def test_child_with_inherited_provider_of_user_counts_for_itself(
    given: dict[str, str], protocol_lab: Lab
) -> None:
    """It has its own instance id, counts from zero, and exports nothing of before the fork."""
    lab = protocol_lab
    app = lab.module(CELERY)
    producer = lab.producer(app)
    arguments = ["--max-tasks-per-child=3"]
    worker = lab.celery(app, arguments=arguments, env={**BY_USER, **given})
    sent = producer.run("for n in range(12): ok.delay(n)")
    worker.wait_for_log("succeeded", count=12)
    producer.run(RESTING)
    assert worker.stop() == 0
    both = lab.receiver.expect_trace(sent.trace_id, 24)
    spans = [span for span in both if span.kind == "consumer"]
    assert len({span.span_id for span in spans}) == 12
    pids = {span.attributes["process.pid"] for span in spans}
    instances = {str(span.resource[INSTANCE]) for span in spans}
    main = lab.receiver.expect_span("app start").resource[INSTANCE]
    assert len(instances) == len(pids) >= 4
    assert main not in instances
    assert not given or all(each.startswith("mine-") for each in instances)
    lab.receiver.expect_total(CONSUMED, 12, taskqueue__task__outcome="success")
    lab.receiver.expect_total("messaging.process.duration", 12)
    lab.receiver.expect_total("app.starts", 1)


@pytest.mark.parametrize(("protocol", "env"), [("http", BY_USER), ("grpc", {})])
def test_main_process_exports_gauges_and_killed_tasks_between_forks(
    env: dict[str, str], protocol_lab: Lab
) -> None:
    """Children that are forked meanwhile export all of theirs."""
    lab = protocol_lab
    app = lab.module(CELERY)
    producer = lab.producer(app)
    worker = lab.celery(app, env=env)
    held = producer.run("for n in range(6): hold.delay(2)")
    expect_gauge(lab, CAPACITY, 2)
    expect_gauge(lab, RESERVED, 4)
    lab.receiver.expect_trace(held.trace_id, 12, settle=0)
    for number in range(3):
        killed = producer.run("hard.delay()")
        alive = producer.run("ok.delay()")
        process = lab.receiver.expect_span("process hard", trace_id=killed.trace_id)
        assert process.attributes[OUTCOME] == "timeout"
        assert worker.returncode is None
        lab.receiver.expect_trace(alive.trace_id, 2, settle=0)
        lab.receiver.expect_total(CONSUMED, number + 1, taskqueue__task__outcome="timeout")
    lab.receiver.expect_total(CONSUMED, 9, taskqueue__task__outcome="success")
    expect_gauge(lab, RESERVED, 0)


def expect_gauge(lab: Lab, name: str, value: int) -> None:
    """Wait for one series, of one process, at that value."""

    def values() -> list[float | None]:
        return [point.value for point in lab.receiver.latest_points(name)]

    lab.receiver.until(lambda: values() == [value], f"{name} {value}: {values()}")


@pytest.mark.parametrize(("protocol", "env"), [("http", {}), ("grpc", {}), ("grpc", BY_USER)])
def test_child_forked_during_outage_exports_afterwards(
    env: dict[str, str], protocol_lab: Lab
) -> None:
    """50 forks while the main process exports to a collector that hangs; then it comes back.

    Children of that time export; the spans of those that have ended are counted as dropped.
    """
    lab = protocol_lab
    app = lab.module(CELERY)
    producer = lab.producer(app)
    arguments = ["--max-tasks-per-child=1", "--prefetch-multiplier=4"]
    outage = {
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
        "OTEL_QUEUE_FLUSH_TIMEOUT": "1",
        **APART,
        **env,
    }
    worker = lab.celery(app, concurrency=ALIVE, arguments=arguments, env=outage)
    expect_gauge(lab, CAPACITY, ALIVE)
    lab.receiver.fault = Fault.HANG
    producer.run(f"for n in range({FORKS}): say_pid.delay()")
    worker.wait_for_log("succeeded", count=FORKS, timeout=60)
    producer.run(RESTING)
    children = wait_for_new_children(worker)
    lab.receiver.fault = Fault.OK
    sent = producer.run(f"for n in range({ALIVE}): hold.delay(1)")
    spans = lab.receiver.expect_trace(sent.trace_id, 2 * ALIVE, timeout=20)
    processed = [span for span in spans if span.kind == "consumer"]
    assert {span.attributes["process.pid"] for span in processed} == children
    assert len({span.resource[INSTANCE] for span in processed}) == ALIVE
    lab.receiver.expect_total(CONSUMED, ALIVE, taskqueue__task__name="hold")
    if not env:
        lab.receiver.expect_total(
            "taskqueue.telemetry.dropped", FORKS, taskqueue__telemetry__drop_reason="process_ended"
        )


def wait_for_new_children(worker: ManagedProcess) -> set[int]:
    """Wait until each process that has run its task is replaced; return the new pids."""
    used = [int(pid) for pid in re.findall(r"^ran in (\d+)$", worker.log, re.MULTILINE)]
    assert len(set(used)) == len(used) == FORKS
    wait_for_end(*used, timeout=30)
    deadline = time.monotonic() + 60
    while len(new := set(worker.children()) - set(used)) < ALIVE:
        assert time.monotonic() < deadline, new
    return new


@pytest.mark.parametrize(
    ("framework", "protocol", "distro"),
    [
        ("celery", "http", True),
        ("celery", "grpc", True),
        ("celery", "http", False),
        ("dramatiq", "grpc", True),
    ],
)
def test_opentelemetry_instrument_command_covers_worker(
    framework: str, distro: bool, protocol_lab: Lab
) -> None:
    """`opentelemetry-instrument celery ...` or `dramatiq ...`, and no line in the app.

    A distribution sets providers before the first fork, and each process is an instance then;
    without one this package does, when needed, and a worker of Celery is one.
    """
    lab = protocol_lab
    app = lab.app(PLAIN_CELERY if framework == "celery" else PLAIN_DRAMATIQ)
    if distro:
        install_distro(lab.directory)
    producer = lab.producer(app)
    worker = start_instrumented(framework, lab, app)
    call = "delay" if framework == "celery" else "send"
    producer.run(f"for n in range(8): ok.{call}(n)")
    worker.wait_for_log("succeeded|ok ran", count=8)
    producer.run(RESTING if framework == "celery" else "")
    assert worker.stop() == 0
    lab.receiver.until(lambda: len(lab.receiver.spans()) >= 8, "eight spans")
    spans = lab.receiver.spans()
    assert len({span.span_id for span in spans}) == len(spans) == 8
    assert {(span.kind, span.name) for span in spans} == {("consumer", "process ok")}
    instances = {span.resource[INSTANCE] for span in spans}
    is_one = framework == "celery" and not distro
    assert len(instances) == (
        1 if is_one else len({each.attributes["process.pid"] for each in spans})
    )
    lab.receiver.expect_total(CONSUMED, 8, taskqueue__task__outcome="success")


def start_instrumented(framework: str, lab: Lab, app: App) -> ManagedProcess:
    """Start a worker of two processes under `opentelemetry-instrument`."""
    commands = Path(sys.executable).parent
    arguments = {
        "celery": ["-A", app.module, "worker", "-c", "2", "-l", "INFO", "--without-mingle"],
        "dramatiq": [app.module, "-p", "2", "-t", "2"],
    }
    ready = {"celery": r" ready\.$", "dramatiq": "Worker process is ready for action"}
    env = lab.env("worker", app, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "celery"})
    command = [launcher(), str(commands / framework), *arguments[framework]]
    worker = lab.processes.start(framework, command, env=env, cwd=lab.directory)
    worker.wait_for_log(ready[framework], count=2 if framework == "dramatiq" else 1, timeout=30)
    return worker
