"""Problems with settings: each is logged once, in one line, without secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

_log = logging.getLogger("otel_queue_plugins")
_reported: set[str] = set()

_LONGEST_VALUE: Final = 200
_LONGEST_LINE: Final = 800
_URL: Final = r"((?<!\w)\w{1,20}://)"
_USER_OF_URL: Final = re.compile(rf"{_URL}\S*@")
_USER_OF_HOST: Final = re.compile(r"(^|[\s'\"=(])[^\s'\"=/]*:(?!//)\S*@")
_QUERY: Final = re.compile(rf"{_URL}([^\s'\"?]*)\?[^\s'\"]+")
_USER_AT_ALL: Final = re.compile(r"^(\w{1,20}://)?.*:.*@", re.DOTALL)


class ConfigurationError(ValueError):
    """A setting in the environment cannot be used. The text has its variable, value and fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A setting that cannot be used, and how to fix it.

    `value` is what the log may show, "" to show only the name of the variable. `signals` are the
    signals that the problem turns off. With `is_warning` it turns nothing off: the setting may be
    right.
    """

    variable: str
    value: str
    fix: str
    signals: tuple[str, ...] = ()
    is_warning: bool = False

    def __str__(self) -> str:
        value = without_secrets(_USER_AT_ALL.sub(r"\1***@", self.value))[:_LONGEST_VALUE]
        shown = f"{self.variable}={value!r}" if value else self.variable
        return f"{shown}: {without_secrets(self.fix)}"[:_LONGEST_LINE]


def merged(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Merge problems that differ only in their signals."""
    found: dict[Problem, tuple[str, ...]] = {}
    for each in problems:
        key = replace(each, signals=())
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *each.signals)))
    return tuple(replace(key, signals=signals) for key, signals in found.items())


def raise_first(problems: Iterable[Problem]) -> None:
    """Raise `ConfigurationError` for the first problem that is not only a warning, if any."""
    for problem in problems:
        if not problem.is_warning:
            raise ConfigurationError(str(problem))


def report(problems: Iterable[Problem]) -> None:
    """Log each problem that this process has not logged yet: at ERROR, a warning at WARNING."""
    for problem in problems:
        line = f"{problem}{_effect(problem)}"
        if line not in _reported:
            _reported.add(line)
            _log.log(logging.WARNING if problem.is_warning else logging.ERROR, "%s", line)


def forget_reported() -> None:
    """Let `report` log all problems again."""
    _reported.clear()


def _effect(problem: Problem) -> str:
    if problem.is_warning or not problem.signals:
        return ""
    return f" ({', '.join(problem.signals)} off)"


def without_secrets(text: str) -> str:
    """`text` as one line, with the users, passwords and queries of URLs replaced by `***`."""
    text = _USER_OF_URL.sub(r"\1***@", text)
    text = _USER_OF_HOST.sub(r"\1***@", text)
    return " ".join(_QUERY.sub(r"\1\2?***", text).split())


def nearest(name: str, names: Iterable[str], at_least: float = 0.6) -> str:
    """The most similar of `names`; "" if none has a similarity of `at_least` (0 to 1)."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(names), 1, at_least)), "")
