"""Receivers over both protocols, and the programs that send to them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.environment import clean_environment, telemetry_environment
from tests.receiver import Fault, FaultyReceiver, GrpcReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import ManagedProcess, Processes

PROTOCOLS = ("http/protobuf", "grpc")
Receiver = FaultyReceiver | GrpcReceiver


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    """Each of both protocols."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def receiver(protocol: str) -> Iterator[Receiver]:
    """A receiver that speaks `protocol`."""
    with GrpcReceiver() if protocol == "grpc" else FaultyReceiver() as receiver:
        yield receiver


@pytest.fixture
def http_receiver() -> Iterator[FaultyReceiver]:
    """A receiver over HTTP, for tests that do not depend on the protocol."""
    with FaultyReceiver() as receiver:
        yield receiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Starts programs of `module`, with `OTEL_*` as a user would set them."""

    processes: Processes
    module: str = "tests.sdk.programs"

    def start(
        self, *arguments: str, endpoint: str = "", protocol: str = "http/protobuf", **extra: str
    ) -> ManagedProcess:
        """Start one; without an `endpoint` it has no `OTEL_*` but `extra`."""
        named = telemetry_environment(endpoint, service="program", protocol=protocol)
        return self.processes.start(
            arguments[0],
            [sys.executable, "-m", self.module, *arguments],
            env=clean_environment(**{**(named if endpoint else {}), **extra}),
            stdin=subprocess.PIPE,
        )

    def start_sending(
        self, receiver: Receiver, *arguments: str, fault: Fault | None = None, **extra: str
    ) -> ManagedProcess:
        """Start one that exports to `receiver`, which gets `fault` if one is given."""
        if fault is not None:
            receiver.fault = fault
        protocol = "grpc" if isinstance(receiver, GrpcReceiver) else "http/protobuf"
        return self.start(*arguments, endpoint=receiver.endpoint, protocol=protocol, **extra)


@pytest.fixture
def programs(processes: Processes) -> Programs:
    """Programs that end with the test."""
    return Programs(processes=processes)


@pytest.fixture
def moments(processes: Processes) -> Programs:
    """Programs that record at the first and the last moment, and export only at their end."""
    return Programs(processes=processes, module="tests.sdk.moments")


def run_child(parent: ManagedProcess, name: str) -> None:
    """Have `one_task_children` run one child, and wait for its end."""
    before = parent.log.count("took")
    parent.stdin.write(f"{name}\n".encode())
    parent.stdin.flush()
    parent.wait_for_log("took", count=before + 1)


def record_spans(program: ManagedProcess, *counts: int) -> None:
    """Have `spans_on_request` record so many spans, one number after the other."""
    for number in counts:
        recorded = program.log.count("recorded")
        program.stdin.write(f"{number}\n".encode())
        program.stdin.flush()
        program.wait_for_log("recorded", count=recorded + 1)
