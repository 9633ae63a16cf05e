"""Brokers that hang, die and come back while the state of queues is reported."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.brokers.queues import until
from tests.brokers.test_queue_outages import QUEUE, Server, server
from tests.environment import clean_environment, telemetry_environment
from tests.receiver import Fault, FaultyReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import ManagedProcess, Processes

__all__ = ["server"]

INTERVAL = 1.0
TIMEOUT = 2.0
DEPTH = "taskqueue.queue.depth"


@pytest.fixture
def receiver() -> Iterator[FaultyReceiver]:
    """Of one test."""
    with FaultyReceiver() as receiver:
        yield receiver


def report(
    processes: Processes,
    receiver: FaultyReceiver,
    server: Server,
    framework: str,
    *more: str,
    env: dict[str, str] | None = None,
) -> ManagedProcess:
    """Start `otel-queue report` on the server's queue."""
    command = [sys.executable, "-m", "otel_queue_plugins.cli.main", "report", "--url", server.url]
    command += ["--framework", framework, "--queue", QUEUE, "--interval", str(INTERVAL), *more]
    telemetry = telemetry_environment(receiver.endpoint, service="reporter")
    whole = clean_environment(**{**telemetry, **(env or {})})
    return processes.start("report", command, env=whole)


def points(receiver: FaultyReceiver, since: float = 0) -> list[float | None]:
    """The depths that were reported since then."""
    return [
        each.value
        for each in receiver.points()
        if each.name == DEPTH and each.time_ns > since * 1e9
    ]


def services(receiver: FaultyReceiver, since: float) -> set[str]:
    """Who reported since then."""
    return {
        each.service
        for each in receiver.points()
        if each.name == DEPTH and each.time_ns > since * 1e9
    }


def reported(receiver: FaultyReceiver) -> None:
    """Wait for the next point."""
    now = time.time()
    until(lambda: points(receiver, now), lambda: "a point")


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_nothing_is_reported_while_the_broker_hangs(
    server: Server, receiver: FaultyReceiver, processes: Processes, framework: str
) -> None:
    """Rather than the values of before; later the true ones again, and one log line."""
    process = report(processes, receiver, server, framework)
    reported(receiver)
    server.send_signal(signal.SIGSTOP)
    try:
        stopped = time.time()
        process.wait_for_log("is not reported: ", timeout=30)
        # A value is shown for two intervals; an export of that moment may be on its way.
        quiet = stopped + 2 * INTERVAL + 0.5
        until(lambda: time.time() > quiet + 4 * INTERVAL, lambda: "time")
        assert points(receiver, quiet) == []
    finally:
        server.send_signal(signal.SIGCONT)
    reported(receiver)
    assert process.log.count("is not reported") == 1
    assert "guest:guest" not in process.log
    assert process.returncode is None


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_values_come_back_after_the_broker_was_killed(
    server: Server, receiver: FaultyReceiver, processes: Processes, framework: str
) -> None:
    """It is found again when it was started again."""
    process = report(processes, receiver, server, framework)
    reported(receiver)
    server.restart()
    reported(receiver)
    assert points(receiver)[-1] is not None
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def test_reporter_of_a_hung_broker_ends_at_once(
    server: Server, receiver: FaultyReceiver, processes: Processes
) -> None:
    """Nothing is waited for longer than a second, whatever hangs."""
    env = {"OTEL_EXPORTER_OTLP_TIMEOUT": "90"}
    process = report(processes, receiver, server, "dramatiq", env=env)
    reported(receiver)
    receiver.fault = Fault.HANG
    server.send_signal(signal.SIGSTOP)
    try:
        process.wait_for_log("is not reported: ", timeout=30)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - started < 30
    finally:
        server.send_signal(signal.SIGCONT)


def test_a_broker_without_an_answer_is_exit_code_3(
    server: Server, receiver: FaultyReceiver, processes: Processes
) -> None:
    """One line that names the broker without its password."""
    server.send_signal(signal.SIGSTOP)
    try:
        process = report(processes, receiver, server, "celery", "--once")
        assert process.wait() == 3
    finally:
        server.send_signal(signal.SIGCONT)
    (line,) = process.log.strip().splitlines()
    assert line.startswith("otel-queue report: ")
    assert "guest:guest" not in line
    assert points(receiver) == []


def test_one_look_is_exported_before_the_command_ends(
    server: Server, receiver: FaultyReceiver, processes: Processes
) -> None:
    """`--once` ends with 0, and without a lease left behind the next one reports, too."""
    for number in (1, 2):
        process = report(processes, receiver, server, "dramatiq", "--once")
        assert process.wait() == 0
        assert "reported 1 of 1 queues" in process.log
        until(lambda number=number: points(receiver).count(1) == number, lambda: "the depth")


@pytest.mark.timing
@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_hung_writer_is_replaced_and_does_not_report_when_it_wakes_up(
    server: Server, receiver: FaultyReceiver, processes: Processes, framework: str
) -> None:
    """Its lease has ended by its own clock, too."""
    env = {"OTEL_SERVICE_NAME": "first"}
    first = report(processes, receiver, server, framework, env=env)
    until(lambda: services(receiver, 0) == {"first"}, lambda: "first")
    env = {"OTEL_SERVICE_NAME": "second"}
    report(processes, receiver, server, framework, env=env)
    os.kill(first.pid, signal.SIGSTOP)
    stopped = time.time()
    until(
        lambda: "second" in services(receiver, stopped),
        lambda: "second",
    )
    assert time.time() - stopped < (2 if server.system == "redis" else 4) * INTERVAL + 3
    os.kill(first.pid, signal.SIGCONT)
    woken = time.time()
    until(
        lambda: len(points(receiver, woken)) > 3,
        lambda: "points",
    )
    assert services(receiver, woken) == {"second"}


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_worker_reports_again_after_its_broker_was_killed(
    server: Server,
    receiver: FaultyReceiver,
    processes: Processes,
    framework: str,
    tmp_path: Path,
) -> None:
    """As soon as it has its connection again."""
    env = clean_environment(
        **telemetry_environment(receiver.endpoint, service="worker"),
        BROKER_URL=server.url,
        RESULTS_URL=server.url if server.system == "redis" else "",
        QUEUE=f"{QUEUE}-of-{framework}",
        OTEL_QUEUE_STATE="on",
        OTEL_QUEUE_STATE_INTERVAL=str(INTERVAL),
    )
    module = f"tests.brokers.apps.queue_{framework}"
    command = [sys.executable, "-m", "celery", "-A", module, "worker", "-P", "threads"]
    if framework == "dramatiq":
        command = [sys.executable, "-m", "dramatiq", module, "-p", "1", "-t", "1"]
    worker = processes.start("worker", command, env=env, cwd=tmp_path)
    reported(receiver)
    server.restart()
    reported(receiver)
    server.send_signal(signal.SIGSTOP)
    try:
        quiet = time.time() + 2 * INTERVAL + 0.5
        until(lambda: time.time() > quiet + 2 * INTERVAL, lambda: "time")
        assert points(receiver, quiet) == []
    finally:
        server.send_signal(signal.SIGCONT)
    reported(receiver)
    assert worker.returncode is None
