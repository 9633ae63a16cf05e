"""Read environment variables one at a time, and collect the problems with them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from otel_queue_plugins.core.settings.problems import Problem

FLAGS: Final = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
"""The spellings of booleans, in lower case."""
FLAG_CHOICES: Final = "one of true, false, 1, 0, yes, no, on, off"


class Variables:
    """The variables of an environment. An empty value counts as unset, as specified.

    `problems` are those of the variables that were read so far.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[Problem] = []

    def names(self) -> list[str]:
        """The names of the variables that have a value."""
        return [name for name, value in self._environ.items() if value.strip()]

    def text(self, *names: str) -> tuple[str, str]:
        """The first of `names` that has a value, and the value; ("", "") if none has."""
        for name in names:
            value = self._environ.get(name, "").strip()
            if value:
                return name, value
        return "", ""

    def value(self, *names: str) -> str:
        """The first value among `names`, "" if there is none."""
        return self.text(*names)[1]

    def is_set_but_empty(self, name: str) -> bool:
        """Whether `name` is set to an empty value."""
        return name in self._environ and not self._environ[name].strip()

    def reject(self, variable: str, fix: str, *signals: str, value: str | None = None) -> None:
        """Add a problem that turns `signals` off. `value` is shown instead of the real one."""
        self._add(variable, fix, signals, value, is_warning=False)

    def warn(self, variable: str, advice: str, *signals: str, value: str | None = None) -> None:
        """Add a warning about a setting that is probably wrong. `value` is as for `reject`."""
        self._add(variable, advice, signals, value, is_warning=True)

    def _add(
        self,
        name: str,
        fix: str,
        signals: tuple[str, ...],
        value: str | None,
        *,
        is_warning: bool,
    ) -> None:
        shown = self._environ.get(name, "") if value is None else value
        self.problems.append(
            Problem(variable=name, value=shown, fix=fix, signals=signals, is_warning=is_warning)
        )

    def specified_flag(self, *names: str, signals: tuple[str, ...] = ()) -> bool:
        """Whether the first value among `names` is `true`.

        The specification of OpenTelemetry takes every other value for false.
        """
        name, value = self.text(*names)
        if value.lower() not in {"", "true", "false"}:
            advice = "here OpenTelemetry takes `true` alone for true, and everything else for false"
            self.warn(name, advice, *signals)
        return value.lower() == "true"

    def choice(self, names: tuple[str, ...], allowed: Iterable[str], *signals: str) -> str:
        """One of `allowed`, in lower case; "" if it is unset or not one of them."""
        name, value = self.text(*names)
        choices = tuple(allowed)
        if not value or value.lower() in choices:
            return value.lower()
        self.reject(name, f"use one of {', '.join(choices)}", *signals)
        return ""

    def number(
        self, name: str, *signals: str, at_least: float = 0, whole: bool = True
    ) -> float | None:
        """The finite number in `name`; None if it is unset or no such number."""
        value = self.value(name)
        if not value:
            return None
        number = _to_number(value, whole=whole)
        if number is not None and number >= at_least:
            return number
        kind = "a whole number" if whole else "a number"
        self.reject(name, f"use {kind} of at least {at_least:g}", *signals)
        return None


def _to_number(value: str, *, whole: bool) -> float | None:
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
