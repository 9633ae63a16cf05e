"""Flush at SIGTERM, and in children of multiprocessing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.environment import clean_environment
from tests.receiver import Fault

if TYPE_CHECKING:
    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Programs

BOUND_S = 5.0


@pytest.mark.parametrize("how", ["default", "restored", "asyncio"])
def test_sigterm_exports_everything(
    moments: Programs, http_receiver: FaultyReceiver, how: str
) -> None:
    """After a flush the process dies of the signal, as without this package."""
    program = moments.start("terminated", how, endpoint=http_receiver.endpoint)
    program.wait_for_log("ready")
    assert program.stop() == -signal.SIGTERM
    http_receiver.expect_span("work", timeout=30)
    http_receiver.expect_total("work", 2 if how == "asyncio" else 1, timeout=30)
    assert program.log.splitlines()[0] == f"shown {signal.SIG_DFL!s}"


def test_restored_default_action_flushes_too(
    moments: Programs, http_receiver: FaultyReceiver
) -> None:
    """A server has its own handler while it loads the application, maybe in a thread."""
    program = moments.start("restored_in_thread", endpoint=http_receiver.endpoint)
    program.wait_for_log("ready")
    assert program.stop() == -signal.SIGTERM
    http_receiver.expect_span("work", timeout=30)


@pytest.mark.parametrize("how", ["handled before", "handled after"])
def test_application_handler_is_left_unchanged(
    moments: Programs, http_receiver: FaultyReceiver, how: str
) -> None:
    """It is called at once, and decides how the process ends."""
    http_receiver.fault = Fault.HANG
    program = moments.start("terminated", how, endpoint=http_receiver.endpoint)
    program.wait_for_log("ready")
    assert program.stop() == 3
    assert "handled 15" in program.log
    assert "on_term" in program.log


def test_ignored_signal_stays_ignored(moments: Programs, http_receiver: FaultyReceiver) -> None:
    """`SIG_IGN` is a choice of the application."""
    program = moments.start("terminated", "ignored", endpoint=http_receiver.endpoint)
    program.wait_for_log("ready")
    program.send_signal(signal.SIGTERM)
    assert program.stop(signal.SIGINT) != -signal.SIGTERM
    assert f"shown {signal.SIG_IGN!s}" in program.log


def test_hanging_collector_delays_sigterm_within_the_bound(
    moments: Programs, http_receiver: FaultyReceiver
) -> None:
    """Also if the signal is sent several times."""
    http_receiver.fault = Fault.HANG
    program = moments.start(
        "terminated",
        "default",
        endpoint=http_receiver.endpoint,
        OTEL_EXPORTER_OTLP_TIMEOUT="90",
    )
    program.wait_for_log("ready")
    began = time.monotonic()
    program.send_signal(signal.SIGTERM)
    program.send_signal(signal.SIGTERM)
    assert program.wait() == -signal.SIGTERM
    assert time.monotonic() - began < BOUND_S + 25


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_export_everything_on_sigterm(
    moments: Programs, http_receiver: FaultyReceiver, how: str
) -> None:
    """A process that ends, and processes of a pool, which are ended by SIGTERM."""
    program = moments.start("pool", how, endpoint=http_receiver.endpoint)
    assert program.wait() == 0
    assert sorted(span.name for span in http_receiver.spans()) == ["parent", "pool", "process"]
    http_receiver.expect_total("work", 3, timeout=30)


def test_sigterm_without_exporters_is_left_unchanged() -> None:
    """There is nothing to flush, and no handler."""
    program = (
        "import signal; before = signal.signal, signal.getsignal;"
        "from otel_queue_plugins import sdk; sdk.set_up_on_first_use();"
        "assert before == (signal.signal, signal.getsignal)"
    )
    subprocess.run([sys.executable, "-c", program], env=clean_environment(), check=True)
