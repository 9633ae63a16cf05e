"""Match an expression in one pass over a text, without going back in it.

`re` goes back: a text can be made for many an expression with which it takes hours, and neither a
signal nor a thread can stop it. Here a character costs at most one look at each state.
"""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.core.policy.expressions import (
    BOUNDARY,
    END,
    NO_BOUNDARY,
    START,
    Program,
    compiled,
)

Span = tuple[int, int]
"""Begin and end of a part of a text."""

_MAX_KEPT: Final = 5000
_States = frozenset[int]
_Anchors = frozenset[int]
_NOWHERE: Final[_Anchors] = frozenset()


class _Reached:
    """A set of states after a character: whether it has the end, and what follows it."""

    __slots__ = ("following", "has_ended", "taking")

    def __init__(self, taking: _States, *, has_ended: bool) -> None:
        self.taking = taking
        self.has_ended = has_ended
        self.following: dict[str, _Reached] = {}


class LinearExpression:
    """An expression of a user.

    Raises:
        ValueError: `text` is no expression, or not one that is matched in one pass, or it matches
            the empty text.
    """

    def __init__(self, text: str) -> None:
        self._program = compiled(text)
        self._has_anchors = any(each.anchor is not None for each in self._program.states)
        self._sets: dict[_States, _Reached] = {}
        self._kept = 0
        everywhere = frozenset({START, END, BOUNDARY, NO_BOUNDARY})
        if 0 in _reached(self._program, {self._program.start: 0}, everywhere):
            raise ValueError("it matches the empty text")

    def spans(self, text: str) -> list[Span]:
        """The parts of `text` that matches cover; they may overlap.

        For each place where a match ends there is the longest one.
        """
        return _find(self._program, text) if self._has_anchors or self._is_in(text) else []

    def _is_in(self, text: str) -> bool:
        """Whether there is a match: quicker than `spans`, since the sets of states are kept."""
        reached = self._set(frozenset())
        for character in text:
            following = reached.following.get(character)
            if following is None:
                following = self._follow(reached, character)
            if following.has_ended:
                return True
            reached = following
        return False

    def _follow(self, reached: _Reached, character: str) -> _Reached:
        taken = _taken(self._program, dict.fromkeys(reached.taking, 0), character)
        self._kept += 1
        if self._kept > _MAX_KEPT:
            self._kept, self._sets = 0, {}
            return self._set(frozenset(taken))  # what was kept before goes with `reached`
        found = reached.following[character] = self._set(frozenset(taken))
        return found

    def _set(self, states: _States) -> _Reached:
        """What is reached from `states`, or by a match that begins here."""
        found = self._sets.get(states)
        if found is None:
            begins = dict.fromkeys((*states, self._program.start), 0)
            reached = _reached(self._program, begins, _NOWHERE)
            takes = self._program.states
            taking = frozenset(each for each in reached if takes[each].takes is not None)
            found = self._sets[states] = _Reached(taking, has_ended=0 in reached)
        return found


def _find(program: Program, text: str) -> list[Span]:
    found: list[Span] = []
    begins: dict[int, int] = {}
    for at in range(len(text) + 1):
        begins.setdefault(program.start, at)
        reached = _reached(program, begins, _anchors(text, at))
        if reached.get(0, at) < at:
            found.append((reached[0], at))
        begins = _taken(program, reached, text[at]) if at < len(text) else {}
    return found


def _reached(program: Program, begins: dict[int, int], anchors: _Anchors) -> dict[int, int]:
    """The states reached from those in `begins`, each with the earliest begin of its match."""
    reached: dict[int, int] = {}
    for state, begin in sorted(begins.items(), key=lambda each: each[1]):
        waiting = [state]
        while waiting:
            number = waiting.pop()
            if number in reached:
                continue
            one = program.states[number]
            if one.anchor is not None and one.anchor not in anchors:
                continue
            reached[number] = begin
            if one.takes is None:
                waiting.extend(one.targets)
    return reached


def _taken(program: Program, reached: dict[int, int], character: str) -> dict[int, int]:
    """The states behind those in `reached` that take `character`."""
    begins: dict[int, int] = {}
    for number, begin in reached.items():
        one = program.states[number]
        if one.takes is not None and one.takes.fullmatch(character):
            (target,) = one.targets
            begins[target] = min(begin, begins.get(target, begin))
    return begins


def _anchors(text: str, at: int) -> _Anchors:
    """The anchors that hold before the character at `at`."""
    is_boundary = _is_word(text[at - 1 : at] if at else "") != _is_word(text[at : at + 1])
    found = {BOUNDARY if is_boundary else NO_BOUNDARY}
    if at == 0:
        found.add(START)
    left = len(text) - at
    if left == 0 or (left == 1 and text[at] == "\n"):
        found.add(END)
    return frozenset(found)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
