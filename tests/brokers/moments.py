"""Parts of scripts for the tests about the first and the last moment of a process."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Final

import pytest

from tests.brokers.telemetry_cases import LATER, SENT, in_log_of_ours

if TYPE_CHECKING:
    from tests.brokers.harness import Lab
    from tests.processes import ManagedProcess

REDIS: Final = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
BOTH_FRAMEWORKS: Final = pytest.mark.parametrize("framework", ["celery", "dramatiq"])
LOGS: Final = {"OTEL_LOGS_EXPORTER": "otlp"}
DEFAULT: Final = -signal.SIGTERM
"""How a process ends by SIGTERM where nobody handles it."""

INSTRUMENTS: Final = """
tracer = trace.get_tracer("shop")
meter = metrics.get_meter("shop")
orders = meter.create_counter("shop.orders")
open_orders = meter.create_up_down_counter("shop.open_orders")
seconds = meter.create_histogram("shop.seconds")
logger = _logs.get_logger("shop")
"""
# What is obtained here is obtained before `instrument()`.
BEFORE: Final = f"""
import json, os, signal, sys, threading, time
from opentelemetry import _logs, metrics, trace
from tests.brokers.apps.sender import instrument_app, send
{INSTRUMENTS}
"""
RECORD: Final = {
    "traces": 'tracer.start_span("job").end()\n',
    "metrics": "orders.add(1)\n",
    "logs": 'logger.emit(body="an order", severity_number=_logs.SeverityNumber.WARN)\n',
}
FACTS: Final = """
json.dump({
    "sdk": "opentelemetry.sdk" in sys.modules,
    "threads": threading.active_count(),
    "sockets": sum(
        os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")
    ),
    "proxies": ["Proxy" in type(each).__name__ for each in (
        trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider(),
    )],
}, sys.stdout)
print()
"""

WORK: Final = """
import asyncio, multiprocessing, os, signal, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
from opentelemetry import metrics, trace
from tests.brokers.apps.sender import instrument_app, send

instrument_app()

def say(words):
    sys.stdout.write(f"{words}\\n")
    sys.stdout.flush()

def work(*_):
    with trace.get_tracer("shop").start_as_current_span("job"):
        metrics.get_meter("shop").create_counter("shop.orders").add(1)
        send()
"""
DONE: Final = 'work()\nsay("done")\n'


def run(lab: Lab, framework: str, *parts: str, env: dict[str, str] | None = None) -> ManagedProcess:
    """Run a script of these parts to its normal end, and check that its log has no line of ours.

    The parts begin with `BEFORE`.
    """
    extra = {**LATER, "FRAMEWORK": framework, **(env or {})}
    script = lab.script("".join(parts), app=lab.module(""), env=extra)
    assert script.wait(timeout=60) == 0, script.tail()
    script.wait_for_log_end()
    assert in_log_of_ours(script.log) == []
    return script


def facts(script: ManagedProcess) -> dict[str, object]:
    """Return what `FACTS` has printed last."""
    found: dict[str, object] = json.loads(script.log.splitlines()[-1])
    return found


def start(lab: Lab, *parts: str, framework: str = "celery", **env: str) -> ManagedProcess:
    """Start a script of `WORK` and these parts; return once it has done its work and waits."""
    extra = {**LATER, "FRAMEWORK": framework, **env}
    script = lab.script("".join((WORK, *parts)), app=lab.module(""), env=extra)
    script.wait_for_log("^done$", timeout=40)
    script.wait_for_sleep()
    return script


def expect_work(lab: Lab, times: int = 1) -> None:
    """Wait for that many jobs, each with its send as child, and their counts."""
    spans = lab.receiver.spans()
    jobs = {span.span_id for span in spans if span.name == "job"}
    assert len(jobs) == times, [(span.name, span.service) for span in spans]
    assert {span.parent_id for span in spans if span.name == "send work"} == jobs
    assert len(spans) == 2 * times
    lab.receiver.expect_total("shop.orders", times, timeout=30)
    lab.receiver.expect_total(SENT, times, timeout=30)
