"""An unreachable backend makes a worker neither slower nor late, and loses nothing afterwards.

On Redis alone: what an outage of the backend costs does not depend on the broker.
"""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import CELERY, CONSUMED, DRAMATIQ, LATER, RESTING
from tests.receiver import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import App, Lab
    from tests.processes import ManagedProcess

APPS = {"celery": CELERY, "dramatiq": DRAMATIQ}
CALLS = {"celery": "delay", "dramatiq": "send"}
DONE = {"celery": r"ok\[.*succeeded", "dramatiq": "ok ran"}
WARNINGS = {"celery": 1, "dramatiq": 2}
AWAY = [Fault.REFUSE, Fault.HANG, Fault.UNAVAILABLE]
BOUND_S = 5.0
RESERVE_S = 20.0
ENDLESS = {"OTEL_EXPORTER_OTLP_TIMEOUT": "90"}  # what an export takes that nothing bounds
MUTE = {"OTEL_QUEUE_SETUP": "off"}
DROPPED = "taskqueue.telemetry.dropped"
TICKS = 200

pytestmark = [
    pytest.mark.parametrize("own_broker", ["redis"], indirect=True),
    pytest.mark.parametrize("framework", ["celery", "dramatiq"]),
]


def start(
    framework: str, lab: Lab, app: App, env: Mapping[str, str], slots: int = 2
) -> ManagedProcess:
    """Start a worker with that many processes."""
    if framework == "celery":
        return lab.celery(app, concurrency=slots, env=env)
    return lab.dramatiq(app, processes=slots, threads=1, env=env)


def test_worker_in_outage_ends_at_most_five_seconds_later(framework: str, own_lab: Lab) -> None:
    """Than a worker without telemetry, main process and children together.

    That one is timed before and after, since the load of the machine is part of both.
    """
    app = own_lab.module(APPS[framework])
    producer = own_lab.producer(app)

    def seconds_to_end(env: Mapping[str, str], fault: Fault) -> float:
        own_lab.receiver.fault = Fault.OK
        worker = start(framework, own_lab, app, env)
        producer.run(f"for n in range(8): ok.{CALLS[framework]}(n)")
        worker.wait_for_log(DONE[framework], count=8)
        producer.run(RESTING if framework == "celery" else "")
        own_lab.receiver.fault = fault
        began = time.monotonic()
        assert worker.stop(signal.SIGTERM, timeout=120) == 0
        return time.monotonic() - began

    without_us = [seconds_to_end(MUTE, Fault.OK)]
    took = {fault: seconds_to_end({**LATER, **ENDLESS}, fault) for fault in AWAY}
    without_us.append(seconds_to_end(MUTE, Fault.OK))
    assert max(took.values()) < max(without_us) + BOUND_S + RESERVE_S, (took, without_us)


@pytest.mark.timing
def test_tasks_in_outage_run_at_same_speed(framework: str, own_lab: Lab) -> None:
    """A backend that answers and one that hangs take turns; the best of each is compared."""
    app = own_lab.module(APPS[framework])
    producer = own_lab.producer(app)
    worker = start(framework, own_lab, app, {}, slots=1)
    took: dict[Fault, list[float]] = {Fault.OK: [], Fault.HANG: []}
    for fault in (Fault.OK, Fault.HANG) * 3:
        own_lab.receiver.fault = fault
        seen = len(ticks(worker))
        producer.run(f"for n in range({TICKS}): tick.{CALLS[framework]}()")
        worker.wait_for_log("tick ", count=seen + TICKS, timeout=60)
        began, *_, ended = ticks(worker)[seen:]
        took[fault].append(ended - began)
    own_lab.receiver.fault = Fault.OK
    assert min(took[Fault.HANG]) < 3 * min(took[Fault.OK])


def ticks(worker: ManagedProcess) -> list[float]:
    """Return when each tick ran, by the clock of the worker."""
    return [float(at) for at in re.findall(r"tick ([\d.]+)$", worker.log, re.MULTILINE)]


@pytest.mark.parametrize("fault", AWAY, ids=["refuse", "hang", "503"])
def test_telemetry_after_outage_is_exported_again(
    framework: str, fault: Fault, own_lab: Lab
) -> None:
    """Each span of before has arrived or counts as dropped.

    One line says so: for all that Celery has forked together, for Dramatiq in each process.
    """
    app = own_lab.module(APPS[framework])
    producer = own_lab.producer(app)
    worker = start(framework, own_lab, app, {"OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    own_lab.receiver.fault = fault
    producer.run(f"for n in range(10): ok.{CALLS[framework]}(n)")
    worker.wait_for_log(DONE[framework], count=10)
    own_lab.receiver.fault = Fault.OK
    again = producer.run(f"for n in range(10): ok.{CALLS[framework]}(n)")

    def processed() -> list[ReceivedSpan]:
        return [span for span in own_lab.receiver.spans() if span.kind == "consumer"]

    def dropped() -> float:
        points = own_lab.receiver.latest_points(DROPPED)
        return sum(point.value or 0 for point in points if point.service == "worker")

    own_lab.receiver.until(lambda: len(processed()) + dropped() == 20, "account of 20 spans")
    arrived = [span for span in processed() if span.trace_id == again.trace_id]
    assert len(arrived) + dropped() >= 10
    last = producer.run(f"ok.{CALLS[framework]}(0)")
    own_lab.receiver.expect_span("process ok", trace_id=last.trace_id)
    own_lab.receiver.expect_total(CONSUMED, 21, taskqueue__task__outcome="success")
    assert worker.log.count("said once in 60 s") <= WARNINGS[framework]
