"""No end of a worker process loses telemetry, with timers that are never due.

On Redis alone: what a process does at its end does not depend on its broker.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import APART, CELERY, CONSUMED, DRAMATIQ, LATER, OUTCOME, RESTING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.brokers.harness import Lab
    from tests.processes import ManagedProcess

    Ending = Callable[[ManagedProcess], object]

# Children of one task: 200 take 15 to 40 s on two cores, with or without telemetry.
MANY = int(os.environ.get("OTEL_QUEUE_TESTS_MANY", "200"))

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


def term(worker: ManagedProcess) -> None:
    """Shut the worker down warmly."""
    assert worker.stop(signal.SIGTERM) == 0


def quit_(worker: ManagedProcess) -> None:
    """Shut the worker down coldly."""
    worker.stop(signal.SIGQUIT)


@pytest.mark.parametrize(
    ("arguments", "method", "end"),
    [
        pytest.param([], "fork", term, id="TERM"),
        pytest.param([], "fork", quit_, id="QUIT"),
        pytest.param([], "spawn", term, id="TERM-spawn"),
        pytest.param(["--max-tasks-per-child=1"], "fork", term, id="max-tasks"),
        pytest.param(["--max-tasks-per-child=1"], "spawn", term, id="max-tasks-spawn"),
        pytest.param(["--max-memory-per-child=1"], "fork", term, id="max-memory"),
    ],
)
def test_celery_worker_that_ends_exports_all(
    arguments: list[str], method: str, end: Ending, own_lab: Lab
) -> None:
    """Each task has one process span and one count, in whichever way its process ended."""
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    env = {**LATER, "CELERY_WORKER_POOL_START_METHOD": method}
    worker = own_lab.celery(app, arguments=arguments, env=env)
    tasks = 3 if method == "spawn" else 8
    sent = producer.run(f"for n in range({tasks}): ok.delay(n)")
    worker.wait_for_log("succeeded", count=tasks)
    producer.run(RESTING)
    end(worker)
    spans = own_lab.receiver.expect_trace(sent.trace_id, 2 * tasks, timeout=30)
    pids = {span.attributes["process.pid"] for span in spans if span.kind == "consumer"}
    assert worker.pid not in pids
    assert len(pids) == tasks if arguments else len(pids) <= 2
    own_lab.receiver.expect_total(CONSUMED, tasks, timeout=30, taskqueue__task__outcome="success")


def test_process_removed_from_pool_exports_all(own_lab: Lab) -> None:
    """Its telemetry arrives while the worker goes on."""
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, concurrency=2, env={**LATER, **APART})
    sent = producer.run("for n in range(2): hold.delay(0.5)")
    worker.wait_for_log("hold runs", count=2)
    worker.wait_for_log("succeeded", count=2)
    producer.run(RESTING)
    assert len(worker.children()) == 2
    producer.run("app.control.pool_shrink(1)")
    spans = own_lab.receiver.expect_trace(sent.trace_id, 3, timeout=30)
    own_lab.receiver.expect_total(CONSUMED, 1, timeout=30)
    (given_up,) = [span for span in spans if span.kind == "consumer"]
    term(worker)
    *_, other = own_lab.receiver.expect_trace(sent.trace_id, 4, timeout=30)
    assert given_up.attributes["process.pid"] != worker.pid
    own_lab.receiver.expect_total(CONSUMED, 2, timeout=30)
    assert other.name == "process hold"


def test_hard_time_limit_loses_no_other_telemetry(own_lab: Lab) -> None:
    """Neither that of the other processes nor what the killed one had done before."""
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, env=LATER)
    sent = producer.run("for n in range(6): ok.delay(n)")
    worker.wait_for_log("succeeded", count=6)
    killed = producer.run("hard.delay()")
    worker.wait_for_log(r"Hard time limit \(0.5s\) exceeded")
    after = producer.run("ok.delay()")
    worker.wait_for_log("succeeded", count=7)
    producer.run(RESTING)
    term(worker)
    own_lab.receiver.expect_trace(sent.trace_id, 12, timeout=30)
    own_lab.receiver.expect_trace(after.trace_id, 2, timeout=30)
    _, process = own_lab.receiver.expect_trace(killed.trace_id, 2, timeout=30)
    assert process.attributes[OUTCOME] == "timeout"
    own_lab.receiver.expect_total(CONSUMED, 7, timeout=30, taskqueue__task__outcome="success")
    own_lab.receiver.expect_total(CONSUMED, 1, timeout=30, taskqueue__task__outcome="timeout")


@pytest.mark.parametrize("arguments", [[], ["--use-spawn"]], ids=["fork", "spawn"])
def test_dramatiq_process_that_ends_exports_all(arguments: list[str], own_lab: Lab) -> None:
    """HUP replaces the processes, TERM ends them."""
    app = own_lab.module(DRAMATIQ)
    producer = own_lab.producer(app)
    # What HUP starts anew is the `python` of PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**LATER, "PATH": path}
    worker = own_lab.dramatiq(app, processes=2, env=env, arguments=arguments)
    before = producer.run("for n in range(8): ok.send(n)")
    worker.wait_for_log("ok ran", count=8)
    worker.send_signal(signal.SIGHUP)
    worker.wait_for_log("Worker process is ready for action", count=4)
    own_lab.receiver.expect_trace(before.trace_id, 16, timeout=30)
    own_lab.receiver.expect_total(CONSUMED, 8, timeout=30, taskqueue__task__outcome="success")
    after = producer.run("for n in range(8): ok.send(n)")
    worker.wait_for_log("ok ran", count=16)
    term(worker)
    own_lab.receiver.expect_trace(after.trace_id, 16, timeout=30)
    own_lab.receiver.expect_total(CONSUMED, 16, timeout=30, taskqueue__task__outcome="success")


def test_process_for_each_task_exports_all(own_lab: Lab) -> None:
    """As many spans, instance ids and counts as tasks.

    Celery keeps such a process for a second, so that many run at once.
    """
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    arguments = ["--max-tasks-per-child=1", "--prefetch-multiplier=4"]
    env = {**LATER, **APART}
    worker = own_lab.celery(app, concurrency=16, arguments=arguments, env=env)
    sent = producer.run(f"for n in range({MANY}): ok.delay(n)", timeout=60)
    worker.wait_for_log("succeeded", count=MANY, timeout=30 + MANY / 2)
    spans = own_lab.receiver.expect_trace(sent.trace_id, 2 * MANY, timeout=30)
    processed = [span for span in spans if span.kind == "consumer"]
    assert len({span.parent_id for span in processed}) == MANY
    assert len({span.resource["service.instance.id"] for span in processed}) == MANY
    own_lab.receiver.expect_total(CONSUMED, MANY, timeout=30, taskqueue__task__outcome="success")
    own_lab.receiver.expect_total("messaging.process.duration", MANY, timeout=30)
