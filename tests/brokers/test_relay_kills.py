"""Whatever kills a pool process: a task that has finished is told of, once.

    KILL_TEST_ROUNDS=20 KILL_TEST_KILLS=8 pytest tests/brokers/test_relay_kills.py

is the long proof: how often each case runs, and how many are killed in a run. `KILL_TEST_TASKS` is
how many tasks there are in one.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.brokers.telemetry_cases import CONSUMED, OUTCOME, RESTING
from tests.receiver import Fault, GrpcReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import Lab
    from tests.processes import ManagedProcess

APP = "tests.brokers.apps.relay_celery"
DURATION = "messaging.process.duration"
SOON = {
    "OTEL_QUEUE_RELAY": "on",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_BSP_MAX_QUEUE_SIZE": "65536",  # as many as an outage may hold back here
}
TASKS = int(os.environ.get("KILL_TEST_TASKS", "1200"))
KILLS = int(os.environ.get("KILL_TEST_KILLS", "15"))
ROUNDS = int(os.environ.get("KILL_TEST_ROUNDS", "1"))
_ENOUGH = 100
CGROUP = Path("/sys/fs/cgroup/memory")

pytestmark = pytest.mark.slow


class Case(NamedTuple):
    """What is different from a worker with four children, over HTTP, whose backend is there."""

    arguments: tuple[str, ...] = ()
    sampler: str = "parentbased_always_on"
    size: int = 0  # letters in a span: more than 4,096 go through the pipe in parts
    has_outages: bool = False
    protocol: str = "http"


CASES = {
    "plain": Case(),
    "recycled": Case(arguments=("--max-tasks-per-child=20",)),
    "unsampled": Case(sampler="always_off"),
    "parts": Case(size=20_000),
    "outages": Case(has_outages=True),
    "grpc": Case(protocol="grpc", arguments=("--max-tasks-per-child=50",)),
}


@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_no_kill_costs_a_finished_task_its_telemetry(name: str, turn: int, own_lab: Lab) -> None:
    """SIGKILL at any moment: each finished task has one span and one place in every count."""
    check_kills(CASES[name], turn, own_lab)


@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("own_broker", ["rabbitmq"], indirect=True)
def test_no_kill_costs_it_on_rabbitmq_either(turn: int, own_lab: Lab) -> None:
    """Whichever broker it came from."""
    check_kills(Case(), turn, own_lab)


def check_kills(case: Case, turn: int, lab: Lab) -> None:
    """Kill children of a worker while they work, and count."""
    with over(case.protocol, lab) as own:
        app = own.module(APP)
        producer = own.producer(app)
        env = {**SOON, "OTEL_TRACES_SAMPLER": case.sampler}
        worker = own.celery(app, concurrency=4, arguments=case.arguments, env=env)
        sent = producer.run(
            f"for n in range({TASKS}): sell.delay('book', {case.size})", timeout=120
        )
        chance = random.Random(f"{case} {turn}")
        kills = kill_children(worker, chance, breaks(own, chance) if case.has_outages else None)
        own.receiver.fault = Fault.OK
        worker.wait_for_log(
            "succeeded|WorkerLostError", count=TASKS - kills, timeout=60 + TASKS / 10
        )
        producer.run(RESTING)
        wait_for_rest(worker)
        assert worker.stop(signal.SIGTERM) == 0
        check(own, worker.log, sent.trace_id, case, kills)


@contextmanager
def over(protocol: str, lab: Lab) -> Iterator[Lab]:
    """The lab with a receiver for that protocol."""
    if protocol == "http":
        yield lab
        return
    with GrpcReceiver() as receiver:
        yield replace(lab, receiver=receiver)


def breaks(lab: Lab, chance: random.Random) -> Callable[[], None]:
    """Lets the backend go away and come back, now and then."""

    def turn() -> None:
        faults = (Fault.OK, Fault.REFUSE, Fault.UNAVAILABLE)
        lab.receiver.fault = chance.choice(faults)

    return turn


def kill_children(
    worker: ManagedProcess, chance: random.Random, before: Callable[[], None] | None
) -> int:
    """At random moments, while the worker works. How many were killed."""
    kills = 0
    for _ in range(KILLS):
        done = len(re.findall("succeeded", worker.log))
        if done > TASKS - _ENOUGH:
            break  # what is left may be done by the next kill
        worker.wait_for_log("succeeded", count=done + 5)
        if before:
            before()
        time.sleep(chance.random() * 0.05)  # any moment is as good as another
        try:
            os.kill(chance.choice(worker.children()), signal.SIGKILL)
        except (ProcessLookupError, IndexError):
            continue
        kills += 1
    return kills


def wait_for_rest(worker: ManagedProcess) -> None:
    """Until nothing is logged any more: billiard notices a lost process within seconds."""
    size = -1
    while size != len(worker.log):
        size = len(worker.log)
        time.sleep(3)


def check(lab: Lab, log: str, trace_id: str, case: Case, kills: int) -> None:
    """A span and a place in each count for each run of a task that has finished, and no more."""
    runs = Counter(re.findall(r"Task sell\[([0-9a-f-]+)\] succeeded", log))
    receiver = lab.receiver
    if case.sampler == "always_off":
        done = int(receiver.total(CONSUMED, taskqueue__task__outcome="success"))
    else:
        done = check_spans(lab, trace_id, case, runs)
    # Celery logs a success before its process has handed it over: a kill in between is a loss.
    lost = receiver.total(CONSUMED, taskqueue__task__outcome="lost")
    assert lost <= kills
    assert done + lost >= len(runs)
    assert receiver.total(CONSUMED, taskqueue__task__outcome="success") == done
    assert receiver.total(DURATION, taskqueue__task__outcome="success") == done
    sold = receiver.total("shop.sold")
    assert 2 * (len(runs) - kills) <= sold <= 2 * (TASKS + kills)
    assert receiver.total("taskqueue.telemetry.dropped") == 0


def check_spans(lab: Lab, trace_id: str, case: Case, runs: Counter[str]) -> int:
    """How many say success.

    Celery runs a task again whose process was killed before it said that it has begun. A request
    that was cut off after it had arrived is sent again: the same span, not another one.
    """
    spans = [each for each in lab.receiver.trace(trace_id) if each.kind == "consumer"]
    different = {(span.span_id, span.start_ns): span for span in spans}.values()
    ids = Counter(str(span.attributes["messaging.message.id"]) for span in different)
    assert set(runs) <= set(ids)
    assert [name for name, count in ids.items() if count > max(1, runs[name])] == []
    assert lab.receiver.total(CONSUMED) == len(different)
    if not case.has_outages and case.protocol == "http":
        assert len(spans) == len(different)
    return sum(1 for span in different if span.attributes[OUTCOME] == "success")


@contextmanager
def memory_group() -> Iterator[str]:
    """A group of processes that may have 64 MB together; skips where there can be none."""
    group = CGROUP / f"otel-queue-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(64 << 20))
    except OSError as error:
        pytest.skip(f"no group of processes can be made here: {error}")
    try:
        yield str(group)
    finally:
        group.rmdir()


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
@pytest.mark.parametrize("what", ["time", "memory"])
def test_a_process_that_the_kernel_kills_is_told_of(what: str, own_lab: Lab) -> None:
    """For want of memory or processor time: what it recorded is there, and its task is lost."""
    with memory_group() if what == "memory" else nothing() as group:
        app = own_lab.module(APP)
        producer = own_lab.producer(app)
        worker = own_lab.celery(app, concurrency=1, env=SOON)
        sent = producer.run(f"sell.delay(); use_up.delay({group!r})")
        worker.wait_for_log("WorkerLostError")
        again = producer.run("sell.delay()")
        own_lab.receiver.expect_trace(sent.trace_id, 6)
        own_lab.receiver.expect_trace(again.trace_id, 3)
        own_lab.receiver.expect_total(CONSUMED, 2, taskqueue__task__outcome="success")
        own_lab.receiver.expect_total(CONSUMED, 1, taskqueue__task__outcome="lost")
        own_lab.receiver.expect_total("shop.sold", 4, item="book")
        own_lab.receiver.expect_total("shop.sold", 1, item="pen")


@contextmanager
def nothing() -> Iterator[str]:
    """No group is needed: a limit of the process itself does it."""
    yield "time"
