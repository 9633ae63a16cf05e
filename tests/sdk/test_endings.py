"""A process ends with everything sent, and on time when nothing can be sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.receiver import Fault

if TYPE_CHECKING:
    from tests.processes import ManagedProcess
    from tests.sdk.conftest import Programs, Receiver

BOUND_S = 5.0


def seconds_until_end(process: ManagedProcess) -> float:
    process.wait_for_log("ends")
    ended_work = time.monotonic()
    assert process.wait(20) == 0
    return time.monotonic() - ended_work


def test_a_scripts_last_words_arrive(programs: Programs, receiver: Receiver, protocol: str) -> None:
    """A script needs no flush of its own: what it recorded last arrives when it ends."""
    script = programs.start("script", endpoint=receiver.endpoint, protocol=protocol)
    assert script.wait() == 0
    receiver.expect_span("script", timeout=1)
    receiver.expect_total("work", 1, timeout=1)


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANG, Fault.UNAVAILABLE])
def test_a_script_ends_within_the_bound(
    programs: Programs, receiver: Receiver, protocol: str, fault: Fault
) -> None:
    """With the collector away, hanging or answering 503, the end is late by 5 s at most, over
    all signals together.
    """
    receiver.fault = fault
    script = programs.start(
        "script", endpoint=receiver.endpoint, protocol=protocol, OTEL_LOGS_EXPORTER="otlp"
    )
    assert seconds_until_end(script) < BOUND_S


def test_the_bound_is_the_users(programs: Programs, receiver: Receiver, protocol: str) -> None:
    """`OTEL_QUEUE_FLUSH_TIMEOUT` (seconds) says how long an end may take."""
    receiver.fault = Fault.HANG
    script = programs.start(
        "script", endpoint=receiver.endpoint, protocol=protocol, OTEL_QUEUE_FLUSH_TIMEOUT="1"
    )
    assert seconds_until_end(script) < 1.5


def test_a_flush_that_hung_is_not_waited_for_twice(
    programs: Programs, http_receiver: Receiver
) -> None:
    """A worker flushes, then the interpreter does: the bound is one for both."""
    http_receiver.fault = Fault.HANG
    script = programs.start("flushing_script", endpoint=http_receiver.endpoint)
    assert seconds_until_end(script) < BOUND_S
    assert "flushed False" in script.log


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_child_needs_no_flush_of_its_own(
    programs: Programs, receiver: Receiver, protocol: str, method: str
) -> None:
    """Children of multiprocessing run no atexit handlers before Python 3.13; theirs arrive too."""
    parent = programs.start("family", method, endpoint=receiver.endpoint, protocol=protocol)
    assert parent.wait() == 0
    receiver.expect_total("work", 3, timeout=2, who="child")
    receiver.expect_total("work", 1, timeout=2, who="parent")
    assert len([span for span in receiver.spans() if span.name == "child"]) == 3
