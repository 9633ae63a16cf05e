"""Replace what must not leave in texts of other people: `[redacted:RULE]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from otel_queue_plugins.core.bounds import valid_text
from otel_queue_plugins.core.policy.matching import LinearExpression
from otel_queue_plugins.core.policy.rules import BUILT_IN, CREDENTIALS, Find
from otel_queue_plugins.core.safety import log_failure

NONE: Final = "none"
CUSTOM: Final = "custom"
MARGIN: Final = 1024
_MAX_EXPRESSIONS: Final = 20
_MAX_UNFINISHED: Final = 64
_ESCAPES: Final = re.compile(r"\\(?:[abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_WITHHELD: Final = f"[redacted:{CUSTOM}]"

Redact = Callable[[str], str]


class Redaction:
    """The rules in use.

    Args:
        rules: Names of built-in rules, and `/regex/`; `none` alone for no rule at all. The rule
            `credentials` is added.
        functions: Called with the text that the rules have left, one after the other; each returns
            the text that may leave.

    Raises:
        ValueError: There is no such rule, or an expression cannot be used.
    """

    def __init__(self, rules: Iterable[str] = (), functions: Iterable[Redact] = ()) -> None:
        given = tuple(dict.fromkeys(rules))
        if NONE in given and len(given) > 1:
            raise ValueError(f"{NONE!r} stands alone, not with {', '.join(given)}")
        self.rules = () if NONE in given else tuple(dict.fromkeys((CREDENTIALS, *given)))
        self.functions = tuple(functions)
        self._finders = [(_marker(rule), _finder(rule)) for rule in self.rules]
        if sum(rule.startswith("/") for rule in self.rules) > _MAX_EXPRESSIONS:
            raise ValueError(f"there are more than {_MAX_EXPRESSIONS} expressions")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Redaction) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __repr__(self) -> str:
        return ",".join((*self.rules, *map(repr, self.functions))) or NONE

    def __bool__(self) -> bool:
        return bool(self.rules or self.functions)

    def __or__(self, other: Redaction) -> Redaction:
        rules, functions = (*self.rules, *other.rules), (*self.functions, *other.functions)
        return Redaction(rules or (NONE,), dict.fromkeys(functions))

    def head(self, text: object, limit: int) -> str:
        """The first `limit` characters of `text` (made a string), redacted, in valid Unicode."""
        string = text if isinstance(text, str) else str(text)
        shown = self.whole(string[: limit + MARGIN])
        if len(string) > limit + MARGIN:
            shown = _without_unfinished(shown)
        return valid_text(shown, limit)

    def tail(self, text: str, limit: int) -> str:
        """The last `limit` characters of `text`, redacted, in valid Unicode.

        What comes before the first whole line, or word, is left out: a secret in it may be cut.
        """
        shown = text[-limit - MARGIN :]
        if len(text) > limit + MARGIN:
            # The margin is as long as a secret may be that is cut.
            begin = shown.find("\n", 0, MARGIN) + 1 or shown.find(" ", MARGIN, 2 * MARGIN) + 1
            shown = shown[begin or MARGIN :]
        return valid_text(self.whole(shown)[-limit:], limit)

    def whole(self, text: str) -> str:
        """`text`, redacted. Bound its length before."""
        found = [
            (*span, marker)
            for marker, find in self._finders
            for seen in _readings(text)
            for span in find(seen)
        ]
        if found:
            text = "".join(_replaced(text, sorted(found)))
        for function in self.functions:
            text = _applied(function, text)
        return text

    def _compared(self) -> tuple[object, ...]:
        return (self.rules, self.functions)


def _readings(text: str) -> tuple[str, ...]:
    r"""`text`, and `text` with spaces for what `repr` writes for a line break and the like.

    In "\\npassword" no word begins at "password".
    """
    if "\\" not in text:
        return (text,)
    return text, _ESCAPES.sub(lambda found: " " * len(found[0]), text)


def _finder(rule: str) -> Find:
    if rule in BUILT_IN:
        return BUILT_IN[rule]
    if len(rule) < len("/x/") or not (rule.startswith("/") and rule.endswith("/")):
        choices = ", ".join(repr(name) for name in (*BUILT_IN, NONE))
        raise ValueError(f"{rule!r} is not one of {choices}, or /regex/")
    try:
        expression = LinearExpression(rule[1:-1])
    except ValueError as error:
        raise ValueError(f"{rule!r} cannot be used: {error}") from None
    return lambda text: iter(expression.spans(text))


def _marker(rule: str) -> str:
    return f"[redacted:{CUSTOM if rule.startswith('/') else rule}]"


def _replaced(text: str, found: list[tuple[int, int, str]]) -> Iterator[str]:
    """The parts of the new text; what overlaps becomes one marker, that of the first match."""
    at = 0
    for begin, end, marker in found:
        if begin < at:  # the marker stands there already
            at = max(at, end)
        elif begin < end:
            yield text[at:begin]
            yield marker
            at = end
    yield text[at:]


def _applied(function: Redact, text: str) -> str:
    try:
        redacted: object = function(text)
    except Exception:  # noqa: BLE001 - of the user; a text that was not looked at stays
        log_failure("the callable of `redact`")
        return _WITHHELD
    return redacted if isinstance(redacted, str) else _WITHHELD


def _without_unfinished(text: str) -> str:
    """`text` without its last words: the end of a secret in them may be missing."""
    kept = text[:-_MAX_UNFINISHED]
    last = max(kept.rfind(" "), kept.rfind("\n"))
    return kept[: max(last, 0)] if "://" in kept[max(last, 0) :] else kept


DEFAULT: Final = Redaction()
