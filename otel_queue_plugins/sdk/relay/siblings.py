"""Processes that have one parent, as those of a Dramatiq worker, ask each other for something.

Over Unix sockets without a place in the file system (unix(7), "abstract"), which only Linux has.
Each process that answers has the first free one of 64 names, so whoever asks needs no list.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger("otel_queue_plugins")

NUMBERS: Final = "numbers"
_MOST: Final = 64
_SIZE: Final = struct.Struct(">Q")
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: socket(7), SO_PEERCRED
_LONGEST_ANSWER: Final = 5.0
_MUCH: Final = 1 << 16


class Answering:
    """Gives what `answer` returns to each sibling that asks, in a thread, until it is closed.

    `subject` is what they ask about. Raises OSError where that cannot be had.
    """

    def __init__(self, answer: Callable[[], bytes], subject: str = NUMBERS) -> None:
        self._answer = answer
        self._listener = _listener(subject)
        threading.Thread(target=self._run, name="otel-queue-siblings", daemon=True).start()

    def close(self) -> None:
        """Nobody is answered any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                asking, _ = self._listener.accept()
            except OSError:
                return
            with asking:
                self._serve(asking)

    def _serve(self, asking: socket.socket) -> None:
        try:
            asking.settimeout(_LONGEST_ANSWER)
            if _is_of_this_user(asking):
                content = self._answer()
                asking.sendall(_SIZE.pack(len(content)) + content)
        except Exception:
            logger.exception("another process has asked for numbers of this one in vain")


def ask(seconds: float, subject: str = NUMBERS) -> list[bytes]:
    """The answers of all processes with the parent of this one, within that time together.

    Who does not answer in time, or ends meanwhile, is left out. This process is among them if it
    answers, too.
    """
    deadline = time.monotonic() + seconds
    answers = (_answer(_name(number, subject), deadline) for number in range(_MOST))
    return [answer for answer in answers if answer is not None]


def _answer(name: str, deadline: float) -> bytes | None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(max(0.001, deadline - time.monotonic()))
            asking.connect(name)
            if not _is_of_this_user(asking):
                return None
            content = b"".join(_received(asking, deadline))
    except OSError:  # nobody is there, or nobody answers
        return None
    start = _SIZE.size
    is_whole = len(content) >= start and _SIZE.unpack_from(content)[0] == len(content) - start
    return content[start:] if is_whole else None


def _received(asking: socket.socket, deadline: float) -> Iterator[bytes]:
    while part := asking.recv(_MUCH):
        yield part
        asking.settimeout(max(0.001, deadline - time.monotonic()))


def _listener(subject: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    for number in range(_MOST):
        try:
            listener.bind(_name(number, subject))
        except OSError:  # that is another's
            continue
        listener.listen()
        return listener
    listener.close()
    raise OSError(f"{_MOST} processes of one worker answer already, or sockets have no such names")


def _name(number: int, subject: str) -> str:
    return f"\0otel-queue/{os.getuid()}/{os.getppid()}/{subject}/{number}"


def _is_of_this_user(peer: socket.socket) -> bool:
    """Anybody may use a name that is no file."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(credentials)[1]
    return uid == os.getuid()
