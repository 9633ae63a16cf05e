"""A process exports everything at its end, and ends in time if nothing can be exported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.sdk.export.outage import Outage
from otel_queue_plugins.sdk.shared_memory import Moment
from tests.receiver import Fault
from tests.sdk.conftest import run_child

if TYPE_CHECKING:
    from tests.conftest import FakeClock
    from tests.processes import ManagedProcess
    from tests.sdk.conftest import Programs, Receiver

pytestmark = pytest.mark.slow

BOUND_S = 5.0
RESERVE_S = 20.0
ENDLESS = {"OTEL_EXPORTER_OTLP_TIMEOUT": "90"}  # what an export takes that nothing bounds


def seconds_until_end(process: ManagedProcess) -> float:
    """How long the exit handlers took; nothing after them may hang."""
    assert process.wait(30) == 0
    (seconds,) = re.findall(r"left after ([\d.]+) s", process.log)
    return float(seconds)


def test_script_exports_everything_at_its_end(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """A script needs no flush of its own."""
    script = programs.start("script", endpoint=receiver.endpoint, protocol=protocol)
    assert script.wait() == 0
    receiver.expect_span("script", timeout=30)
    receiver.expect_total("work", 1, timeout=30)


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANG, Fault.UNAVAILABLE])
def test_script_end_without_a_backend_stays_within_the_bound(
    programs: Programs, receiver: Receiver, protocol: str, fault: Fault
) -> None:
    """The collector is away, hangs or answers 503: 5 s at most, for all signals together."""
    receiver.fault = fault
    script = programs.start(
        "script",
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_LOGS_EXPORTER="otlp",
        **ENDLESS,
    )
    assert seconds_until_end(script) < BOUND_S + RESERVE_S


def test_flush_timeout_bounds_the_end_of_a_script(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """`OTEL_QUEUE_FLUSH_TIMEOUT` is in seconds."""
    receiver.fault = Fault.HANG
    script = programs.start(
        "script",
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_QUEUE_FLUSH_TIMEOUT="1",
        **ENDLESS,
    )
    assert seconds_until_end(script) < 1 + RESERVE_S


def test_hanging_flush_is_waited_for_once(programs: Programs, http_receiver: Receiver) -> None:
    """A worker flushes, then the interpreter does: the bound is for both together."""
    http_receiver.fault = Fault.HANG
    script = programs.start("flushing_script", endpoint=http_receiver.endpoint, **ENDLESS)
    assert seconds_until_end(script) < BOUND_S + RESERVE_S
    assert "flushed False" in script.log


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_child_exports_at_its_end(
    programs: Programs, receiver: Receiver, protocol: str, method: str
) -> None:
    """Children of multiprocessing run no atexit handlers before Python 3.13."""
    parent = programs.start("family", method, endpoint=receiver.endpoint, protocol=protocol)
    assert parent.wait() == 0
    receiver.expect_total("work", 3, timeout=30, who="child")
    receiver.expect_total("work", 1, timeout=30, who="parent")
    assert len([span for span in receiver.spans() if span.name == "child"]) == 3


def test_outage_delays_the_first_child_only(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """With children that end after one task, each would otherwise take the whole bound."""
    receiver.fault = Fault.HANG
    parent = programs.start(
        "one_task_children",
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_QUEUE_FLUSH_TIMEOUT="10",
        **ENDLESS,
    )
    for name in ("first", "second", "third"):
        run_child(parent, name)
    receiver.fault = Fault.OK
    run_child(parent, "back")
    run_child(parent, "healthy")
    first, *others = [float(took) for took in re.findall(r"took ([\d.]+) s", parent.log)]
    assert first > 5
    assert max(others) < 5
    assert {"back", "healthy"} <= {span.name for span in receiver.spans()}


def test_outage_is_forgotten_after_a_minute(fake_clock: FakeClock) -> None:
    """A flush that succeeds ends it, and so does a minute without a flush."""
    outage = Outage(Moment(), clock=lambda: fake_clock() / 1e9)
    assert not outage.is_on()
    outage.begin()
    assert outage.is_on()
    outage.end()
    assert not outage.is_on()
    outage.begin()
    fake_clock.advance(59)
    assert outage.is_on()
    fake_clock.advance(1)
    assert not outage.is_on()
