"""One of the processes of a worker serves, and the others know which of them have ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from otel_queue_plugins.worker_http import turns


@pytest.fixture(autouse=True)
def own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that run at the same time have the same parent."""
    name = f"\0otel-queue/{os.urandom(8).hex()}"
    monkeypatch.setattr(turns, "_name", lambda: name)


def test_turn_comes_when_the_other_process_has_ended() -> None:
    """However that ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        turn = turns.wait_for_turn(lambda: False)
        os.write(writing, b"." if turn else b"!")
        time.sleep(0.3)
        os._exit(0)
    assert os.read(reading, 1) == b"."
    began = time.monotonic()
    turn = turns.wait_for_turn(lambda: False)
    assert turn is not None
    assert time.monotonic() - began > 0.1
    turn.close()
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)


def test_no_turn_for_one_that_is_closed() -> None:
    """Its thread ends."""
    assert turns.wait_for_turn(lambda: True) is None


def test_process_that_has_ended_is_no_sibling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while its parent has not asked how it ended, which keeps its pid."""
    monkeypatch.setattr(os, "getppid", os.getpid)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reading, 1)
        os._exit(0)
    assert turns.is_sibling(pid)
    os.write(writing, b".")
    deadline = time.monotonic() + 60
    while turns.is_sibling(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Path(f"/proc/{pid}").exists()
    assert not turns.is_sibling(pid)
    os.waitpid(pid, 0)
    assert not turns.is_sibling(pid)
    os.close(reading)
    os.close(writing)


def test_process_of_another_parent_is_no_sibling() -> None:
    """Its pid may have been used again."""
    assert not turns.is_sibling(1)
