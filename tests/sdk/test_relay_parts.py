"""How messages get through a pipe that many write to, in parts, whole or not at all."""

from __future__ import annotations

import os
import signal
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.sdk.relay.parts import Assembly, split
from otel_queue_plugins.sdk.relay.pipe import PART, Pipe

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = st.sampled_from([0, 1, PART - 100, PART, 2 * PART, 5 * PART + 7])
SOURCES = st.tuples(st.integers(1, 5), st.just(9))


KINDS = st.lists(st.tuples(SOURCES, SIZES), max_size=8)

Messages = list[tuple[tuple[int, int], bytes]]


def sent(kinds: list[tuple[tuple[int, int], int]], chance: Random) -> tuple[Messages, list[bytes]]:
    """Messages of several processes, and their parts in an order in which they may arrive."""
    messages = [(source, bytes([number]) * size) for number, (source, size) in enumerate(kinds)]
    queues: dict[tuple[int, int], list[bytes]] = {}
    for number, (source, message) in enumerate(messages):
        queues.setdefault(source, []).extend(split(source, number, message))
    arrived: list[bytes] = []
    while any(queues.values()):
        source = chance.choice([key for key, parts in queues.items() if parts])
        arrived.append(queues[source].pop(0))
    return messages, arrived


@given(KINDS, st.randoms(use_true_random=False), st.integers(100, 10_000))
def test_messages_arrive_as_they_were_sent(
    kinds: list[tuple[tuple[int, int], int]], chance: Random, step: int
) -> None:
    """However the parts of several processes are mixed, and wherever a read ends."""
    messages, parts = sent(kinds, chance)
    assert all(len(part) <= PART for part in parts)
    stream, assembly = b"".join(parts), Assembly()
    received = [
        each
        for start in range(0, len(stream), step)
        for each in assembly.add(stream[start : start + step])
    ]
    assert sorted(received) == sorted(messages)


@given(KINDS, st.randoms(use_true_random=False))
def test_a_message_that_lacks_a_part_is_never_used(
    kinds: list[tuple[tuple[int, int], int]], chance: Random
) -> None:
    """Its process was killed. Those of others, and of one with the same pid later, arrive."""
    messages, parts = sent(kinds, chance)
    lost = chance.randrange(len(parts)) if parts else 0
    received = list(Assembly().add(b"".join(parts[:lost] + parts[lost + 1 :])))
    assert len(received) == max(0, len(messages) - 1)
    assert all(each in messages for each in received)


def test_what_is_no_part_is_skipped() -> None:
    """Somebody who writes to our descriptor by mistake costs nothing but his own words."""
    first, second = split((1, 2), 0, b"first"), split((1, 2), 1, b"second")
    assembly = Assembly()
    stream = b"GET / HTTP/1.1\r\n" + first[0] + b"nonsense" + second[0]
    assert [message for _, message in assembly.add(stream)] == [b"first", b"second"]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """One that is closed again."""
    made = Pipe()
    yield made
    for end in (made._read_end, made._write_end):
        os.close(end)


def test_a_full_pipe_takes_nothing_and_does_not_wait(pipe: Pipe) -> None:
    """All of a part, or none of it."""
    taken = 0
    while pipe.write(b"x" * PART):
        taken += 1
    assert not pipe.write(b"y" * PART)
    read = b""
    while more := pipe.read():
        read += more
    assert read == b"x" * (taken * PART)


def test_a_descriptor_of_another_is_not_written_to(pipe: Pipe) -> None:
    """A daemon closes all it has, and the number is somebody's file by then."""
    assert pipe.is_there()
    kept = os.dup(pipe._write_end)
    other, other_end = os.pipe()
    os.dup2(other_end, pipe._write_end)
    try:
        assert not pipe.is_there()
    finally:
        os.dup2(kept, pipe._write_end)
        for end in (kept, other, other_end):
            os.close(end)
    assert pipe.is_there()


def test_a_writer_that_is_killed_leaves_whole_parts(pipe: Pipe) -> None:
    """The kernel takes a part or it does not."""
    child = os.fork()
    if child == 0:
        number = 0
        while True:
            for part in split((os.getpid(), 1), number, b"z" * 3 * PART):
                if not pipe.write(part):
                    pipe.wait_for_room(1)
            number += 1
    assembly, whole = Assembly(), 0
    while whole < 50:
        whole += sum(1 for _ in assembly.add(pipe.read()))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while received := pipe.read():
        assert all(message == b"z" * 3 * PART for _, message in assembly.add(received))
