"""The names of tasks as marks of four characters, for what a message has no room for."""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Final

Names = Callable[[], Iterable[str]]

MARK_LENGTH: Final = 4
_MASK: Final = 0xFFFFFF
_MAX_MARKS: Final = 4096


def mark_of(name: str) -> str:
    """The mark of a name: 24 bits of its CRC-32 (RFC 1952) in base 64 (RFC 4648, section 5)."""
    checksum = zlib.crc32(name.encode("utf-8", "surrogatepass")) & _MASK
    return urlsafe_b64encode(checksum.to_bytes(3, "big")).decode()


UNKNOWN: Final = mark_of("")
"""The mark of a task whose name nobody knows."""


class TaskNames:
    """The names of the tasks of this process, by their marks.

    `sources` are functions that return the names of all tasks of a framework. They are called once
    for each mark.
    """

    def __init__(self) -> None:
        self.sources: list[Names] = []
        self._found: dict[str, str | None] = {}

    def find(self, mark: str) -> str | None:
        """The only name with that mark; None if this process knows none, or several."""
        if mark not in self._found and len(self._found) < _MAX_MARKS:
            names = {name for source in self.sources for name in source()}
            matching = [name for name in names if mark_of(name) == mark]
            self._found[mark] = matching[0] if len(matching) == 1 else None
        return self._found.get(mark)
