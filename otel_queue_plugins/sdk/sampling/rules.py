"""The rules of `TaskQueueSampler`, from their text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

FORMS: Final = "task:NAME=SHARE, queue:NAME=SHARE, default=SHARE and keep=ENDINGS, separated by `;`"
VALUES: Final = "a share from 0 to 1, or a number of traces a second above 0 such as 5/s"
ENDINGS: Final = "errors, retries and slow:TIME such as slow:5s"
_UNITS: Final = {"ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)", re.ASCII)
_NUMBER: Final = re.compile(r"\d*\.?\d+(?:e-?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Share:
    """What is kept of the traces that a rule is for.

    Args:
        value: A probability, or traces a second.
        is_rate: Which of the two.
    """

    value: float
    is_rate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which messages a rule is for, and what is kept. `scope` is `task`, `queue` or `default`."""

    scope: str
    pattern: str
    share: Share

    def matches(self, task: str | None, queue: str | None) -> bool:
        """Whether it is for this message; None is for what is no message."""
        name = {"task": task, "queue": queue}.get(self.scope)
        return self.scope == "default" or (name is not None and fnmatchcase(name, self.pattern))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Endings whose process spans are kept, though their traces are not. `slow_ns`: None if off."""

    errors: bool = False
    retries: bool = False
    slow_ns: int | None = None


class Rules(NamedTuple):
    """All that a text says; `default` comes last, wherever it was written."""

    rules: tuple[Rule, ...]
    keep: Keep | None


def parse(text: str, keep: str | None = None) -> Rules:
    """Read rules, and what to keep, if that is given apart.

    Raises ValueError, which names the wrong rule and says what it may be.
    """
    found: dict[str, Rule] = {}
    for written in filter(None, map(str.strip, text.split(";"))):
        target, equals, value = (part.strip() for part in written.rpartition("="))
        if target == "keep" and equals:
            if keep is not None:
                raise _wrong(written, "keep is given twice")
            keep = value
            continue
        rule = _rule(written, target, value)
        if target in found:
            raise _wrong(written, f"{target} has a rule before it")
        found[target] = rule
    default = found.pop("default", Rule(scope="default", pattern="*", share=Share(1.0)))
    return Rules((*found.values(), default), None if keep is None else parse_keep(keep))


def _rule(written: str, target: str, value: str) -> Rule:
    scope, colon, pattern = (part.strip() for part in target.partition(":"))
    if scope == "default" and not colon:
        return Rule(scope=scope, pattern="*", share=_share(written, value))
    if scope not in {"task", "queue"} or not pattern:
        raise _wrong(written, f"use {FORMS}")
    return Rule(scope=scope, pattern=pattern, share=_share(written, value))


def _share(written: str, value: str) -> Share:
    number, slash, unit = (part.strip() for part in value.partition("/"))
    share = float(number) if _NUMBER.fullmatch(number) else math.nan
    if slash and unit == "s" and 0 < share < math.inf:
        return Share(share, is_rate=True)
    if slash or not 0 <= share <= 1:
        raise _wrong(written, f"{value!r} is not {VALUES}")
    return Share(share)


def parse_keep(text: str) -> Keep | None:
    """Read a list of endings; None for an empty one. Raises ValueError for a wrong ending."""
    endings = [part.strip() for part in text.split(",") if part.strip()]
    flags, slow_ns = {"errors": False, "retries": False}, None
    for ending in endings:
        if ending in flags:
            flags[ending] = True
        elif ending.startswith("slow:"):
            slow_ns = _nanoseconds(text, ending)
        else:
            raise _wrong(f"keep={text}", f"{ending!r} is not one of {ENDINGS}")
    return Keep(**flags, slow_ns=slow_ns) if endings else None


def _nanoseconds(text: str, ending: str) -> int:
    time = _TIME.fullmatch(ending.removeprefix("slow:").strip())
    if time is None:
        raise _wrong(f"keep={text}", f"{ending!r} is not a time such as slow:5s or slow:500ms")
    return int(float(time[1]) * _UNITS[time[2]])


def _wrong(rule: str, reason: str) -> ValueError:
    return ValueError(f"sampling rule {rule!r}: {reason}")
