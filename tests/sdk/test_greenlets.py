"""Under gevent and eventlet only the greenlet that exports waits for the backend."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.environment import clean_environment, telemetry_environment
from tests.receiver import Fault, GrpcReceiver

if TYPE_CHECKING:
    from tests.processes import ManagedProcess, Processes
    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Receiver

pytestmark = pytest.mark.slow

LONGEST_GAP_MS = 2500  # a hub that stands still does so for the 4 s of the flush, at least
ADVICE = "grpc.experimental.gevent.init_gevent()"


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize("fault", [Fault.OK, Fault.HANG])
def test_hub_continues_during_an_export(
    processes: Processes, receiver: Receiver, protocol: str, library: str, fault: Fault
) -> None:
    """Neither an export nor a flush stops other greenlets, and the process ends on time."""
    receiver.fault = fault
    program = start(processes, receiver, protocol, library, "ours")
    expect_the_hub_went_on(program)
    assert len(receiver.spans()) == (30 if fault is Fault.OK else 0)


@pytest.mark.parametrize("fault", [Fault.OK, Fault.HANG])
def test_hub_continues_with_application_grpc_that_supports_gevent(
    processes: Processes, fault: Fault
) -> None:
    """The remedy in the warning works, and there is no warning then."""
    with GrpcReceiver() as receiver:
        receiver.fault = fault
        program = start(processes, receiver, "grpc", "gevent", "init_gevent")
        expect_the_hub_went_on(program)
        assert len(receiver.spans()) == (30 if fault is Fault.OK else 0)
        assert ADVICE not in program.log


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_application_grpc_that_blocks_the_hub_is_warned_of(
    processes: Processes, library: str
) -> None:
    """One line with the remedy; the application's exporter is not changed."""
    with GrpcReceiver() as receiver:
        program = start(processes, receiver, "grpc", library, "user")
        program.wait_for_log("ends")
        assert program.log.count(ADVICE) == 1


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_application_http_exporter_is_not_warned_of(
    processes: Processes, http_receiver: FaultyReceiver, library: str
) -> None:
    """Its sockets are those of gevent or eventlet."""
    http_receiver.fault = Fault.HANG
    program = start(processes, http_receiver, "http/protobuf", library, "user")
    expect_the_hub_went_on(program)
    assert ADVICE not in program.log


def start(
    processes: Processes, receiver: Receiver, protocol: str, library: str, whose: str
) -> ManagedProcess:
    """Start `tests.sdk.green_program`."""
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    named = telemetry_environment(receiver.endpoint, service="green", protocol=protocol)
    env = clean_environment(**named, OTEL_QUEUE_FLUSH_TIMEOUT="1", OTEL_EXPORTER_OTLP_TIMEOUT="30")
    program = ["-m", "tests.sdk.green_program", library, whose]
    return processes.python("-W", "ignore", *program, env=env, name=library)


def expect_the_hub_went_on(program: ManagedProcess) -> None:
    """No greenlet waited long, and the process ends."""
    program.wait_for_log("ends")
    assert program.wait() == 0
    gap = re.search(r"longest gap (\d+) ms", program.log)
    assert gap is not None
    assert int(gap[1]) < LONGEST_GAP_MS


def test_call_without_greenlets_is_not_wrapped() -> None:
    """There is neither a thread nor a wrapper."""
    code = (
        "from otel_queue_plugins.sdk.greenlets import in_native_thread as run;"
        "assert run(len) is len"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_line_of_a_native_thread_is_logged_while_a_greenlet_holds_the_lock_of_logging(
    processes: Processes,
) -> None:
    """Eventlet cannot wake up another thread that waits for it: the export would never end."""
    code = """
import eventlet; eventlet.monkey_patch()
import logging, threading, time
from otel_queue_plugins.sdk import greenlets

class Slow(logging.StreamHandler):
    def emit(self, record):
        time.sleep(0.3)
        super().emit(record)

logging.getLogger().addHandler(Slow())
native = greenlets.in_native_thread(lambda: greenlets.log(logging.WARNING, "said by %s", "it"))
threading.Thread(target=logging.warning, args=("said by a greenlet",)).start()
time.sleep(0.1)
native()
logging.warning("returned")
"""
    program = processes.python("-W", "ignore", "-c", code, name="eventlet")
    assert program.wait() == 0
    assert program.log.splitlines() == ["said by a greenlet", "said by it", "returned"]
