"""Processes of one parent find each other without a list, and nobody waits for a dead one."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack, closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.sdk.relay import siblings
from otel_queue_plugins.sdk.relay.siblings import Answering, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "SO_PEERCRED"), reason="sockets without a file are Linux's"
)


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else's: tests that run at the same time have the same parent."""
    unique = os.urandom(8).hex()
    monkeypatch.setattr(siblings, "_name", lambda number, _: f"\0otel-queue/{unique}/{number}")


@contextmanager
def process(content: bytes) -> Iterator[int]:
    """One that answers with `content`; its pid."""
    ready, ready_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        Answering(lambda: content)
        os.write(ready_end, b".")
        signal.pause()
    os.read(ready, 1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(ready_end)


def test_all_answer_and_this_one_too() -> None:
    """Whole answers, of any length."""
    long = b"x" * 1_000_000
    with ExitStack() as stack:
        for content in (b"first", long, b""):
            stack.enter_context(process(content))
        stack.enter_context(closing(Answering(lambda: b"own")))
        assert sorted(ask(60)) == sorted([b"first", long, b"", b"own"])
        assert sorted(ask(60)) == sorted([b"first", long, b"", b"own"])


def test_nobody_answers() -> None:
    """At once: there is nobody to wait for."""
    began = time.monotonic()
    assert ask(120) == []
    assert time.monotonic() - began < 60


def test_one_that_stands_still_costs_no_more_than_the_time_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others have answered by then, if they come first."""
    answer, passed = siblings._answer, [0.0]

    def answer_and_let_time_pass(name: str, deadline: float) -> bytes | None:
        """The first one has two minutes, however busy the machine is; the next, a moment."""
        found = answer(name, deadline)
        if found == b"first":
            passed.append(119.8)
        return found

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[-1])
    monkeypatch.setattr(siblings, "_answer", answer_and_let_time_pass)
    monkeypatch.setattr(siblings, "time", clock)
    with process(b"first"), process(b"stopped") as stopped, closing(Answering(lambda: b"last")):
        os.kill(stopped, signal.SIGSTOP)
        os.waitpid(stopped, os.WUNTRACED)  # every thread of it stands still
        began = time.monotonic()
        answers = ask(120)
        assert time.monotonic() - began < 60
        assert b"first" in answers
        assert b"stopped" not in answers


def test_a_name_is_free_again_when_its_process_is_dead() -> None:
    """However it died."""
    for number in range(3):
        with process(b"%d" % number):
            assert ask(60) == [b"%d" % number]


def test_an_answer_that_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """With a line in the log of the process that failed."""

    def fail() -> bytes:
        raise ValueError("no")

    with closing(Answering(fail)):
        assert ask(60) == []
    assert "in vain" in caplog.text


def test_a_process_of_another_user_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor answered: names that are no files have no owner."""
    with closing(Answering(lambda: b"secret")):
        monkeypatch.setattr(siblings.os, "getuid", lambda: 12345)
        assert ask(60) == []


def test_there_are_64_at_most() -> None:
    """One more has no name, and says so."""
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(closing(Answering(lambda: b".")))
        assert len(ask(60)) == 64
        with pytest.raises(OSError, match="64 processes"):
            Answering(lambda: b".")
