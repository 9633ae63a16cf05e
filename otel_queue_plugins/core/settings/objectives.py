"""Objectives for deliveries: how long they may wait, and how long they may run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final, NamedTuple

_DEFAULT: Final = "default"
_SELECTORS: Final = ("task", "queue")
_LIMIT: Final = re.compile(r"(wait|run)\s*<\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Limits(NamedTuple):
    """Seconds that a delivery may wait and run; None where there is no objective."""

    wait: float | None = None
    run: float | None = None


class Rule(NamedTuple):
    """Limits for the tasks or the queues that a pattern matches; for all without one."""

    kind: str
    pattern: re.Pattern[str] | None
    limits: Limits

    def fits(self, task: str, queue: str) -> bool:
        """Whether the rule is about a task on a queue."""
        if self.pattern is None:
            return True
        return self.pattern.fullmatch(task if self.kind == "task" else queue) is not None


class Objectives:
    """Rules separated by semicolons: `task:shop.*:wait<1s,run<1m; default:wait<10s`.

    For each of the two the first rule counts that fits and has it; `default` comes last, wherever
    it stands.
    """

    def __str__(self) -> str:
        return (
            "rules with semicolons between, each 'default:', 'task:GLOB:' or 'queue:GLOB:' with "
            "'wait<TIME' or 'run<TIME' or both behind it (TIME as in '500ms', '10s', '5m', '1h')"
        )

    def check(self, value: object) -> tuple[Rule, ...]:
        """The rules in a text, or rules as they are. Raises ValueError that names a wrong rule."""
        if isinstance(value, tuple) and all(isinstance(each, Rule) for each in value):
            return value
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not {self}")  # noqa: TRY004 - as all kinds do
        rules = [self._rule(each.strip()) for each in value.split(";") if each.strip()]
        return tuple(sorted(rules, key=lambda rule: rule.pattern is None))

    parse = check

    def _rule(self, text: str) -> Rule:
        selector, _, limits = text.rpartition(":")
        kind, colon, glob = selector.partition(":")
        if kind == _DEFAULT and not colon:
            return Rule(kind, None, self._limits(text, limits))
        if kind not in _SELECTORS or not glob:
            raise ValueError(f"{text!r} is not {self}")
        return Rule(kind, re.compile(translate(glob.strip())), self._limits(text, limits))

    def _limits(self, rule: str, text: str) -> Limits:
        found: dict[str, float] = {}
        for part in text.split(","):
            match = _LIMIT.fullmatch(part.strip())
            if match is None or match[1] in found:
                raise ValueError(f"{rule!r} is not {self}")
            found[match[1]] = float(match[2]) * _SECONDS[match[3] or "s"]
        return Limits(**found)


def limits_for(rules: Iterable[Rule], task: str, queue: str) -> Limits:
    """What a task on a queue is held to."""
    wait = run = None
    for rule in rules:
        if rule.fits(task, queue):
            wait = rule.limits.wait if wait is None else wait
            run = rule.limits.run if run is None else run
    return Limits(wait, run)
