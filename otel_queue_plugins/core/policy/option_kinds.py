"""The kinds of options that say what may leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_queue_plugins.core.policy.arguments import ArgumentPath, parsed
from otel_queue_plugins.core.policy.redaction import NONE, Redaction
from otel_queue_plugins.core.policy.rules import BUILT_IN


class Redacting:
    """Rules of redaction."""

    def __str__(self) -> str:
        names = ", ".join(repr(name) for name in (*BUILT_IN, NONE))
        return f"one of {names}, or several of them, or /regex/"

    def check(self, value: object) -> Redaction:
        """The redaction of one text with commas, of a callable, or of a collection of both."""
        if isinstance(value, Redaction):
            return value
        given = [value] if isinstance(value, str) or not isinstance(value, Iterable) else [*value]
        rules, functions = [], []
        for each in given:
            if isinstance(each, str):
                rules += _split(each)
            elif callable(each):
                functions.append(each)
            else:
                raise ValueError(f"{each!r} is not {self}, and no callable")  # noqa: TRY004
        return Redaction(rules, functions)

    parse = check


class Correlating:
    """Keys, each with the path of a value in the arguments of a task."""

    def __str__(self) -> str:
        return "KEY=PATH, with commas between"

    def check(self, value: object) -> tuple[ArgumentPath, ...]:
        """The paths in a mapping, in one text with commas, or paths as they are."""
        if isinstance(value, str):
            pairs = [each.partition("=")[::2] for each in value.split(",") if each.strip()]
            return tuple(parsed(key.strip(), path.strip()) for key, path in pairs)
        if isinstance(value, Mapping):
            return tuple(parsed(key, path) for key, path in value.items())
        if isinstance(value, tuple) and all(isinstance(each, ArgumentPath) for each in value):
            return value
        raise ValueError(f"{value!r} is not a mapping of keys to paths, nor {self}")

    parse = check


def _split(text: str) -> list[str]:
    """The rules in `text`. A comma inside `/regex/` belongs to it: `/,` ends it."""
    found: list[str] = []
    rest = text.strip()
    while rest:
        if rest.startswith("/"):
            end = rest.find("/,", 1) + 1 or len(rest)
            while end < len(rest) and rest[end - 2] == "\\":
                end = rest.find("/,", end) + 1 or len(rest)
        else:
            end = rest.find(",") if "," in rest else len(rest)
        rule = rest[:end].strip()
        found.append(rule if rule.startswith("/") else rule.lower())
        rest = rest[end:].lstrip(", ")
    return [rule for rule in found if rule]
