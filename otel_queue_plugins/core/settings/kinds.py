"""The kinds of values that an option may have, and how the environment spells them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from otel_queue_plugins.core.settings.variables import FLAG_CHOICES, FLAGS

LOOPBACK: Final = "127.0.0.1"
_MAX_PORT: Final = 65535


class Kind(Protocol):
    """A set of allowed values. `str()` of it completes the sentence "this is not ..."."""

    def check(self, value: object) -> object:
        """Return `value` in its final type. Raises ValueError with the value and the choices."""

    def parse(self, text: str) -> object:
        """Return the value that `text` spells. Raises ValueError if it spells none."""


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def __str__(self) -> str:
        return f"one of {_listed(self._words)}"

    def check(self, value: object) -> str:
        """Return `value`, which must be one of the words exactly."""
        if not isinstance(value, str) or value not in self._words:
            raise ValueError(f"{value!r} is not {self}")
        return value

    def parse(self, text: str) -> str:
        """Return the word in `text`, which may be in any case."""
        return self.check(text.lower())


class Flag:
    """Yes or no."""

    def __str__(self) -> str:
        return FLAG_CHOICES

    def check(self, value: object) -> bool:
        """Return a bool from a bool, or from a word or a number that spells one."""
        spelled = str(value).strip().lower() if isinstance(value, (str, int)) else ""
        if spelled not in FLAGS:
            raise ValueError(f"{value!r} is not {self}")
        return FLAGS[spelled]

    parse = check


class Number:
    """A number above zero."""

    def __init__(self, *, whole: bool = False) -> None:
        self._type = int if whole else float

    def __str__(self) -> str:
        return "a whole number above 0" if self._type is int else "a number above 0"

    def check(self, value: object) -> float:
        """Return `value`, an int or a float, but no text."""
        kinds = int if self._type is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
            raise ValueError(f"{value!r} is not {self}")
        return value

    def parse(self, text: str) -> float:
        """Return the number in `text`."""
        return self.check(self._type(text))


class Seconds:
    """A time in seconds, which may be 0."""

    def __str__(self) -> str:
        return "a number of at least 0"

    def check(self, value: object) -> float:
        """`value`, which must be a finite number."""
        is_flag = isinstance(value, bool)
        if is_flag or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ValueError(f"{value!r} is not {self}")
        return float(value)

    def parse(self, text: str) -> float:
        """The number in `text`."""
        return self.check(float(text))


class HostPort(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class Address:
    """A port, with a host before it or not. An IPv6 address stands in brackets."""

    def __str__(self) -> str:
        return "a port from 1 to 65535, or HOST:PORT ([::1]:9464 for IPv6)"

    def check(self, value: object) -> HostPort:
        """Return the host and the port in `value`; the host is 127.0.0.1 if there is none."""
        host, colon, port = str(value).strip().rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        if is_bracketed:
            host = host[1:-1]
        is_wrong = (bool(colon) and not host) or (":" in host) is not is_bracketed
        if is_wrong or any(each in host for each in "/@[] ") or not _is_port(port):
            raise ValueError(f"{value!r} is not {self}")
        return HostPort(host or LOOPBACK, int(port))

    parse = check


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) <= _MAX_PORT


class Names:
    """Any number of a few names, as a collection or as one string with commas."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __str__(self) -> str:
        return f"one of {_listed(self._names)}, or several of them"

    def check(self, value: object) -> frozenset[str]:
        """Return the set of the names."""
        if isinstance(value, str):
            return self.parse(value)
        names = value if isinstance(value, Iterable) else (value,)
        return frozenset(self._one(name) for name in names)

    def parse(self, text: str) -> frozenset[str]:
        """Return the set of the names in `text`."""
        return frozenset(self._one(part.strip()) for part in text.split(",") if part.strip())

    def _one(self, name: object) -> str:
        if not isinstance(name, str) or name not in self._names:
            raise ValueError(f"{name!r} is not {self}")
        return name


class Globs:
    """Any number of names or globs, in one string with commas."""

    def __str__(self) -> str:
        return "names or globs, with commas between"

    def check(self, value: object) -> tuple[str, ...]:
        """Return the names of a collection or of one string."""
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, Iterable) or not all(isinstance(each, str) for each in names):
            raise ValueError(f"{value!r} is not {self}")
        return tuple(each.strip() for each in names if each.strip())

    parse = check


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(repr(word) for word in words)
