"""The processes of the demo are watched and never left behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from otel_queue_plugins.cli.demo.children import Child, running
from otel_queue_plugins.cli.demo.failure import DemoError

SOON = 20.0
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def _running(code: str, folder: Path, grace: float = 5.0):
    command = [sys.executable, "-c", code]
    return running("worker", command, env=dict(os.environ), log=folder / "log", grace=grace)


def _deadline(seconds: float = SOON) -> float:
    return time.monotonic() + seconds


def _has_ended(pid: int) -> bool:
    deadline = _deadline()
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.01)
    return not Path(f"/proc/{pid}").exists()


def test_children_of_children_end_too(tmp_path: Path) -> None:
    """A pool process whose parent was killed would go on working."""
    with _running(FAMILY, tmp_path) as child:
        child.wait_until_logged(r"^child \d+$", _deadline())
        grandchild = int((tmp_path / "log").read_text().split()[1])
    assert _has_ended(child.pid)
    assert _has_ended(grandchild)


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    """After the time of grace, not later."""
    with _running(STUBBORN, tmp_path, grace=0.2) as child:
        child.wait_until_logged("ready", _deadline())
        begun = time.monotonic()
    assert _has_ended(child.pid)
    assert time.monotonic() - begun < 30


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C may come at any time."""
    with pytest.raises(KeyboardInterrupt), _running(STUBBORN, tmp_path, grace=0) as child:
        raise KeyboardInterrupt
    assert _has_ended(child.pid)


def test_a_process_that_ends_early_is_an_error_with_its_log(tmp_path: Path) -> None:
    """Waiting for it to be ready would be in vain."""
    code = "print('no such broker'); raise SystemExit(3)"
    with (
        _running(code, tmp_path) as child,
        pytest.raises(DemoError, match="worker ended with exit code 3") as error,
    ):
        child.wait_until_logged("ready", _deadline())
    assert error.value.details == ("end of the worker's log:", "  no such broker")


def test_a_process_that_is_never_ready_is_an_error(tmp_path: Path) -> None:
    """At the deadline."""
    with (
        _running(STUBBORN, tmp_path, grace=0) as child,
        pytest.raises(DemoError, match="worker was not ready in time"),
    ):
        child.wait_until_logged("never said", _deadline(0.1))


@pytest.mark.parametrize(
    ("code", "seconds", "said"),
    [
        ("raise SystemExit(4)", SOON, "ended with exit code 4"),
        ("import time; time.sleep(60)", 0.1, "did not end in time"),
    ],
)
def test_a_process_that_should_succeed_and_does_not_is_an_error(
    tmp_path: Path, code: str, seconds: float, said: str
) -> None:
    """By its exit code, or by the deadline."""
    with _running(code, tmp_path, grace=0) as child, pytest.raises(DemoError, match=said):
        child.wait_for_success(_deadline(seconds))


def test_success_is_no_error(tmp_path: Path) -> None:
    """The log may be empty."""
    with _running("", tmp_path) as child:
        child.wait_for_success(_deadline())
        assert child.tail() == ()


def test_stopping_twice_does_nothing(tmp_path: Path) -> None:
    """Cleaning up must be able to overlap."""
    child = Child("worker", [sys.executable, "-c", ""], env={}, log=tmp_path / "log")
    child.stop(5)
    child.stop(5)
    with pytest.raises(DemoError, match="exit code"):
        child.check_alive()
