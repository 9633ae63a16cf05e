"""Kinds of values that an option may have, and how they are written in the environment."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

from otel_queue_plugins.core.settings.variables import FLAG_CHOICES, FLAGS


class Kind(Protocol):
    """What values there are. `str()` of it completes the sentence "this is not ..."."""

    def check(self, value: object) -> object:
        """`value` as it is used. Raises ValueError, naming it and the choices."""

    def parse(self, text: str) -> object:
        """The value that is written like that. Raises ValueError if there is none."""


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def __str__(self) -> str:
        return f"one of {_listed(self._words)}"

    def check(self, value: object) -> str:
        """`value`, which must be written exactly so."""
        if not isinstance(value, str) or value not in self._words:
            raise ValueError(f"{value!r} is not {self}")
        return value

    def parse(self, text: str) -> str:
        """The word in `text`, in any case."""
        return self.check(text.lower())


class Flag:
    """Yes or no."""

    def __str__(self) -> str:
        return FLAG_CHOICES

    def check(self, value: object) -> bool:
        """A bool, or what spells one."""
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
        """`value`, which must not be text; a whole number is as good as another."""
        kinds = int if self._type is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
            raise ValueError(f"{value!r} is not {self}")
        return value

    def parse(self, text: str) -> float:
        """The number in `text`."""
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


class Names:
    """Any of a few names, as a collection of them or one string with commas."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __str__(self) -> str:
        return f"one of {_listed(self._names)}, or several of them"

    def check(self, value: object) -> frozenset[str]:
        """The set of them."""
        if isinstance(value, str):
            return self.parse(value)
        names = value if isinstance(value, Iterable) else (value,)
        return frozenset(self._one(name) for name in names)

    def parse(self, text: str) -> frozenset[str]:
        """The set of those in `text`."""
        return frozenset(self._one(part.strip()) for part in text.split(",") if part.strip())

    def _one(self, name: object) -> str:
        if not isinstance(name, str) or name not in self._names:
            raise ValueError(f"{name!r} is not {self}")
        return name


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(repr(word) for word in words)
