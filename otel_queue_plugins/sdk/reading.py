"""The environment, read one variable at a time, with a list of what is wrong in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk.installed import offered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SIGNALS = ("traces", "metrics", "logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A setting that cannot or must not be used, and what to do about it.

    `signals` are the signals it concerns (empty: all of them or none), which it turns off unless
    it `is_doubt`: it may be right. `value` is what the log may show.
    """

    variable: str
    value: str
    fix: str
    signals: tuple[str, ...] = ()
    is_doubt: bool = False

    def __str__(self) -> str:
        return f"{self.variable}={self.value!r}: {self.fix}"


def merged(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Those that differ only in the signal become one."""
    found: dict[Problem, tuple[str, ...]] = {}
    for each in problems:
        key = replace(each, signals=())
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *each.signals)))
    return tuple(replace(key, signals=signals) for key, signals in found.items())


class Reading:
    """Reads variables; an empty value is the same as none, as the specification says."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[Problem] = []

    def text(self, *names: str) -> tuple[str, str]:
        """The first of `names` that has a value, with that value; ("", "") if none has."""
        for name in names:
            value = self._environ.get(name, "").strip()
            if value:
                return name, value
        return "", ""

    def value(self, *names: str) -> str:
        """The first value among `names`, "" if there is none."""
        return self.text(*names)[1]

    def is_true(self, *names: str) -> bool:
        """Whether the first value among `names` is `true`, as the specification has it."""
        return self.value(*names).lower() == "true"

    def is_emptied(self, name: str) -> bool:
        """True when `name` is there and says nothing."""
        return name in self._environ and not self._environ[name].strip()

    def reject(self, variable: str, fix: str, *signals: str, value: str | None = None) -> None:
        """Add a problem that turns `signals` off. `value` is shown in place of the real one."""
        shown = self._environ.get(variable, "") if value is None else value
        self.problems.append(Problem(variable=variable, value=shown, fix=fix, signals=signals))

    def doubt(self, variable: str, advice: str, *signals: str) -> None:
        """Add what may be right and mostly is not."""
        shown = self._environ.get(variable, "")
        self.problems.append(
            Problem(variable=variable, value=shown, fix=advice, signals=signals, is_doubt=True)
        )

    def choice(self, names: tuple[str, ...], allowed: Iterable[str], *signals: str) -> str:
        """One of `allowed`, without regard to case; "" when unset or not one of them."""
        name, value = self.text(*names)
        choices = tuple(allowed)
        if not value or value.lower() in choices:
            return value.lower()
        self.reject(name, f"use one of {', '.join(choices)}", *signals)
        return ""

    def number(
        self, name: str, *signals: str, at_least: float = 0, whole: bool = True
    ) -> float | None:
        """The finite number in `name`, None when unset or no such number."""
        value = self.value(name)
        if not value:
            return None
        number = _to_number(value, whole=whole)
        if number is not None and number >= at_least:
            return number
        kind = "a whole number" if whole else "a number"
        self.reject(name, f"use {kind} of at least {at_least:g}", *signals)
        return None

    def file(self, names: tuple[str, ...], *signals: str) -> str | None:
        """The path in the first set of `names`, None when unset; must be readable."""
        name, value = self.text(*names)
        if not value:
            return None
        try:
            with Path(value).open("rb") as file:
                file.read(1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self.reject(
                name, f"no readable file there ({reason}); correct the path or unset it", *signals
            )
            return None
        return value

    def component(self, variable: str, group: str, name: str, *signals: str) -> bool:
        """Whether an installed package offers entry point `name` in `group`."""
        if offered(group, name=name):
            return True
        known = ", ".join(sorted({point.name for point in offered(group)}))
        self.reject(
            variable, f"{name!r} is not installed or misspelt; there are: {known}", *signals
        )
        return False


def _to_number(value: str, *, whole: bool) -> float | None:
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
