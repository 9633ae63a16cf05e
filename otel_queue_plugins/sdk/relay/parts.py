"""Messages in the pipe: in parts, each of which says whose it is and which one.

A process that is killed between two parts leaves a message that is never whole, and is never used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from otel_queue_plugins.sdk.relay.pipe import PART

Source = tuple[int, int]
"""A process: its pid, and a random number, because a pid may come again."""

_MARK: Final = b"OQR1"
# The mark, pid and random number of the writer, number of the message, of the part, whether it is
# the last one, and the size of what follows.
_HEADER: Final = Struct("<4sIIIH?H")
_MOST: Final = PART - _HEADER.size
_MOSTPARTS: Final = 1 << 16


class _Begun(NamedTuple):
    number: int
    parts: list[bytes]


def split(source: Source, number: int, message: bytes) -> list[bytes]:
    """`message` in parts that are written one by one; no parts if it is too long (250 MiB)."""
    is_all = len(message) <= _MOST
    if is_all:
        return [_HEADER.pack(_MARK, *source, number, 0, is_all, len(message)) + message]
    pieces = range(0, len(message), _MOST)
    if len(pieces) > _MOSTPARTS:
        return []
    return [_part(source, number, index, message) for index in range(len(pieces))]


def _part(source: Source, number: int, index: int, message: bytes) -> bytes:
    start = index * _MOST
    piece, is_last = message[start : start + _MOST], start + _MOST >= len(message)
    return _HEADER.pack(_MARK, *source, number, index, is_last, len(piece)) + piece


class Assembly:
    """Puts messages together again."""

    def __init__(self) -> None:
        self._bytes = b""
        self._begun: dict[Source, _Begun] = {}

    def add(self, received: bytes) -> Iterator[tuple[Source, bytes]]:
        """Take the next bytes from the pipe; gives the messages that are whole by now."""
        content = self._bytes + received if self._bytes else received
        position, end = 0, len(content)
        while end - position >= _HEADER.size:
            mark, pid, nonce, number, index, is_last, size = _HEADER.unpack_from(content, position)
            if mark != _MARK:
                position = _next_mark(content, position)
                continue
            start = position + _HEADER.size
            if end - start < size:
                break
            position = start + size
            message: bytes | None = content[start:position]
            if index or not is_last:
                message = self._take((pid, nonce), number, index, is_last, content[start:position])
            if message is not None:
                yield (pid, nonce), message
        self._bytes = content[position:]

    def _take(
        self,
        source: Source,
        number: int,
        index: int,
        is_last: bool,  # noqa: FBT001
        piece: bytes,
    ) -> bytes | None:
        if index == 0:
            self._begun[source] = _Begun(number, [piece])
            return None
        begun = self._begun.get(source)
        if begun is None or begun.number != number or len(begun.parts) != index:
            return None
        begun.parts.append(piece)
        return b"".join(self._begun.pop(source).parts) if is_last else None

    def sources(self) -> list[Source]:
        """Processes whose message is not whole yet."""
        return list(self._begun)

    def forget(self, source: Source) -> None:
        """Nothing of that process will come any more."""
        self._begun.pop(source, None)


def is_alive(source: Source) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(source[0], 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _next_mark(content: bytes, position: int) -> int:
    """Where the next part may begin, if somebody else has written what is none."""
    found = content.find(_MARK, position + 1)
    return len(content) - len(_MARK) + 1 if found < 0 else found
