"""Leases on RabbitMQ, without a server: what a lost connection, a hang and a fork mean."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.on_rabbitmq import leases as module
from otel_queue_plugins.brokers.on_rabbitmq.leases import QueueLocks
from tests.brokers.queues import until
from tests.reporting.conftest import Clock

LIFETIME = 15.0


class Session:
    """One that locks all but what `others` have."""

    errors = (OSError,)

    def __init__(self) -> None:
        self.others: set[str] = set()
        self.locked: set[str] = set()
        self.error: Exception | None = None
        self.hang: threading.Event | None = None
        self.heartbeat = 0
        self.served = 0
        self.is_open = False
        self.own_socket: Any = None

    def another(self, *, heartbeat: int) -> Session:
        self.heartbeat = heartbeat
        return self

    def lock(self, queue: str) -> bool:
        self.is_open = True
        if self.hang:
            self.hang.wait(20)
        if self.error:
            raise self.error
        if queue not in self.others:
            self.locked.add(queue)
        return queue not in self.others

    def unlock(self, queue: str) -> None:
        self.locked.discard(queue)

    def serve(self) -> None:
        if self.error:
            raise self.error
        self.served += 1

    def socket(self) -> Any:
        return self.own_socket

    def close(self) -> None:
        self.is_open = False
        self.locked.clear()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    """With heartbeats every moment."""
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_HEARTBEATS", 0.02)
    return Session()


def test_locks_are_taken_renewed_and_given_back(session: Session) -> None:
    """A queue of another is left out; one that is not wanted any more is unlocked."""
    clock = Clock()
    locks = QueueLocks(session, LIFETIME, 2, clock)
    session.others = {"otq.reporter.b"}
    held = locks.hold(["a", "b", "c"])
    assert held.until == {"a": clock.now + LIFETIME, "c": clock.now + LIFETIME}
    assert held.has("a", clock.now)
    assert not held.has("b", clock.now)
    assert session.heartbeat * 2 >= LIFETIME
    locks.hold(["a"])
    assert session.locked == {"otq.reporter.a"}
    locks.close()
    assert session.locked == set()
    assert not session.is_open


def test_heartbeats_are_served_and_show_a_lost_connection(session: Session) -> None:
    """All leases are lost then, at once; later they can be taken again."""
    locks = QueueLocks(session, LIFETIME, 2)
    held = locks.hold(["a"])
    until(lambda: session.served > 2, lambda: "heartbeats")
    assert not held.is_lost()
    session.error = ConnectionResetError("gone")
    until(held.is_lost, lambda: "the loss")
    assert not session.is_open
    session.error = None
    assert locks.hold(["a"]).until.keys() == {"a"}
    assert held.is_lost()
    locks.close()


def test_broker_that_hangs_is_an_error_in_time(session: Session) -> None:
    """And what was held counts no more."""
    locks = QueueLocks(session, LIFETIME, 0.1)
    held = locks.hold(["a"])
    session.hang = threading.Event()
    with pytest.raises(TimeoutError):
        locks.hold(["a"])
    assert held.is_lost()
    session.hang.set()
    session.hang = None
    assert locks.hold(["a"]).until.keys() == {"a"}
    locks.close()


def test_refusal_passes_as_it_is(session: Session) -> None:
    """Its text has the remedy."""
    locks = QueueLocks(session, LIFETIME, 2)
    session.error = RefusedError("use this")
    with pytest.raises(RefusedError, match="use this"):
        locks.hold(["a"])
    session.error = None
    locks.close()


def test_forked_child_closes_the_socket_it_inherited(session: Session) -> None:
    """Otherwise the broker would see no end of the connection when the parent is killed."""
    session.own_socket, far = socket.socketpair()
    locks = QueueLocks(session, LIFETIME, 2)
    locks.hold(["a"])
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        far.close()
        os.read(reading, 1)
        os._exit(0 if session.own_socket.fileno() == -1 else 1)
    session.own_socket.close()
    far.settimeout(5)
    assert far.recv(1) == b""  # while the child lives
    far.close()
    os.write(writing, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    locks.close()
