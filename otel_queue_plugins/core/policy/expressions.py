"""The regular expressions that a user may give: parsed into states that `matching` can run.

They are Python's, without what a matcher cannot do in one pass over the text: references back to a
group, and looking ahead or behind.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_LENGTH: Final = 500
MAX_STATES: Final = 128
MAX_REPEAT: Final = 100
_MAX_DEPTH: Final = 20
_MAX_STEPS: Final = 3000

START, END, BOUNDARY, NO_BOUNDARY = range(4)

_FLAGS: Final = re.compile(r"\(\?([is]+)\)")
_GROUP: Final = re.compile(r"\((?!\?)|\(\?:|\(\?P<\w+>")
_QUANTIFIER: Final = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_ANCHORS: Final = {
    "^": START,
    r"\A": START,
    "$": END,
    r"\Z": END,
    r"\b": BOUNDARY,
    r"\B": NO_BOUNDARY,
}
# One character: a set, an escape that is not a reference back to a group, or the character itself.
_ONE: Final = re.compile(
    r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\(?:x..|u.{4}|U.{8}|N\{[^}]*\}|0[0-7]{0,2}|[^1-9])|[^\\]",
    re.DOTALL,
)


class State(NamedTuple):
    """One state: it takes a character (`takes`), holds at an anchor, or only leads to `targets`."""

    targets: list[int]
    takes: re.Pattern[str] | None = None
    anchor: int | None = None


class Program(NamedTuple):
    """The states of an expression. `states[0]` is its end; `start` is where it begins."""

    states: list[State]
    start: int


class _Node(NamedTuple):
    """A part of an expression: `kind` is `one`, `anchor`, `all`, `any` or `repeat`."""

    kind: str
    parts: tuple[_Node, ...] = ()
    takes: re.Pattern[str] | None = None
    anchor: int = START
    least: int = 0
    most: int | None = None


def compiled(text: str) -> Program:
    """The states of the expression in `text`.

    Raises:
        ValueError: It is no expression, or not one that is matched in one pass.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"it has more than {MAX_LENGTH} characters")
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    return _Builder().build(_Parser(text).parse())


class _Parser:
    """Parses an expression that `re` has accepted."""

    def __init__(self, text: str) -> None:
        flags = _FLAGS.match(text)
        named = flags[1] if flags else ""
        self._flags = (re.IGNORECASE if "i" in named else 0) | (re.DOTALL if "s" in named else 0)
        self._text = text
        self._at = flags.end() if flags else 0
        self._depth = 0

    def parse(self) -> _Node:
        return self._alternatives()

    def _alternatives(self) -> _Node:
        found = [self._sequence()]
        while self._rest().startswith("|"):
            self._at += 1
            found.append(self._sequence())
        return _Node("any", tuple(found)) if len(found) > 1 else found[0]

    def _sequence(self) -> _Node:
        found: list[_Node] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            found.append(self._quantified(self._atom()))
        return _Node("all", tuple(found))

    def _atom(self) -> _Node:
        group = _GROUP.match(self._text, self._at)
        if group:
            return self._group(group.end())
        if self._rest().startswith("("):
            raise ValueError(f"it must not have {self._rest()[:3]!r}: see the documentation")
        for anchor, kind in _ANCHORS.items():
            if self._rest().startswith(anchor):
                self._at += len(anchor)
                return _Node("anchor", anchor=kind)
        one = _ONE.match(self._text, self._at)
        if one is None:
            raise ValueError(f"it must not have {self._rest()[:2]!r}: see the documentation")
        self._at = one.end()
        return _Node("one", takes=re.compile(one[0], self._flags))

    def _group(self, begin: int) -> _Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"it has more than {_MAX_DEPTH} groups in each other")
        self._at = begin
        inner = self._alternatives()
        self._at += 1  # the closing bracket
        self._depth -= 1
        return inner

    def _quantified(self, atom: _Node) -> _Node:
        found = _QUANTIFIER.match(self._text, self._at)
        if found is None or found[0] == "{}":
            return atom
        self._at = found.end()
        if self._rest()[:1] == "+":
            raise ValueError("it must not have possessive quantifiers: see the documentation")
        if self._rest()[:1] == "?":  # it takes as much as can be matched in any case
            self._at += 1
        least, most = _limits(found)
        if max(least, most or 0) > MAX_REPEAT:
            raise ValueError(f"it repeats something more than {MAX_REPEAT} times")
        return _Node("repeat", (atom,), least=least, most=most)

    def _rest(self) -> str:
        return self._text[self._at :]


def _limits(quantifier: re.Match[str]) -> tuple[int, int | None]:
    if quantifier[0] in "*+?":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[quantifier[0]]
    least = int(quantifier[1] or 0)
    if not quantifier[2]:
        return least, least
    return least, int(quantifier[3]) if quantifier[3] else None


class _Builder:
    """Makes states of nodes, each with the state that follows it."""

    def __init__(self) -> None:
        self._states = [State([])]
        self._steps = 0

    def build(self, node: _Node) -> Program:
        return Program(self._states, self._of(node, 0))

    def _of(self, node: _Node, following: int) -> int:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise ValueError("it is too large")
        if node.kind == "one":
            return self._add(State([following], takes=node.takes))
        if node.kind == "anchor":
            return self._add(State([following], anchor=node.anchor))
        if node.kind == "any":
            return self._add(State([self._of(part, following) for part in node.parts]))
        if node.kind == "all":
            for part in reversed(node.parts):
                following = self._of(part, following)
            return following
        return self._repeated(node, following)

    def _repeated(self, node: _Node, following: int) -> int:
        (part,) = node.parts
        begin = following
        if node.most is None:
            begin = self._add(State([following]))
            self._states[begin].targets.append(self._of(part, begin))
        for _ in range((node.most or 0) - node.least):
            begin = self._add(State([self._of(part, begin), following]))
        for _ in range(node.least):
            begin = self._of(part, begin)
        return begin

    def _add(self, state: State) -> int:
        if len(self._states) >= MAX_STATES:
            raise ValueError("it is too large")
        self._states.append(state)
        return len(self._states) - 1
