"""Under gevent and eventlet only the greenlet that exports waits for the backend."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.environment import clean_environment, telemetry_environment
from tests.receiver import Fault

if TYPE_CHECKING:
    from tests.processes import Processes
    from tests.sdk.conftest import Receiver

pytestmark = pytest.mark.slow

LONGEST_GAP_MS = 250


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize("fault", [Fault.OK, Fault.HANG])
def test_the_hub_goes_on(
    processes: Processes, receiver: Receiver, protocol: str, library: str, fault: Fault
) -> None:
    """Neither an export nor a flush stops other greenlets, and the process ends on time."""
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    receiver.fault = fault
    named = telemetry_environment(receiver.endpoint, service="green", protocol=protocol)
    program = processes.python(
        "-W",
        "ignore",
        "-m",
        "tests.sdk.green_program",
        library,
        env=clean_environment(**named, OTEL_QUEUE_FLUSH_TIMEOUT="1"),
        name=library,
    )
    program.wait_for_log("ends")
    assert program.wait(5) == 0
    gap = re.search(r"longest gap (\d+) ms", program.log)
    assert gap is not None
    assert int(gap[1]) < LONGEST_GAP_MS
    assert len(receiver.spans()) == (30 if fault is Fault.OK else 0)


def test_without_greenlets_a_call_is_left_as_it_is() -> None:
    """No thread, no wrapper where nothing was patched."""
    code = "from otel_queue_plugins.sdk.green import apart; assert apart(len) is len"
    subprocess.run([sys.executable, "-c", code], check=True)
