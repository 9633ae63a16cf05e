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


class LinearExpression:
    """An expression of a user.

    Raises:
        ValueError: `text` is no expression, or not one that is matched in one pass, or it matches
            the empty text.
    """

    def __init__(self, text: str) -> None:
        self._program = compiled(text)
        self._has_anchors = any(each.anchor is not None for each in self._program.states)
        self._closures: dict[tuple[_States, _Anchors], tuple[_States, bool]] = {}
        self._steps: dict[tuple[_States, str], _States] = {}
        everywhere = frozenset({START, END, BOUNDARY, NO_BOUNDARY})
        if self._closure(frozenset({self._program.start}), everywhere)[1]:
            raise ValueError("it matches the empty text")

    def spans(self, text: str) -> list[Span]:
        """The parts of `text` that matches cover; they may overlap.

        For each place where a match ends there is the longest one.
        """
        return _find(self._program, text) if self._is_in(text) else []

    def _is_in(self, text: str) -> bool:
        """Whether there is a match: quicker than `spans`, since the sets of states are kept."""
        states, start = _NOWHERE, frozenset({self._program.start})
        anchors = _NOWHERE
        for at in range(len(text) + 1):
            if self._has_anchors:
                anchors = _anchors(text, at)
            taking, has_ended = self._closure(states | start, anchors)
            if has_ended:
                return True
            if at < len(text):
                states = self._step(taking, text[at])
        return False

    def _closure(self, states: _States, anchors: _Anchors) -> tuple[_States, bool]:
        """The states that take a character, reached from `states`; and whether it has matched."""
        key = (states, anchors)
        found = self._closures.get(key)
        if found is None:
            reached = _reached(self._program, dict.fromkeys(states, 0), anchors)
            takes = self._program.states
            taking = frozenset(each for each in reached if takes[each].takes is not None)
            found = taking, 0 in reached
            if len(self._closures) >= _MAX_KEPT:
                self._closures.clear()
            self._closures[key] = found
        return found

    def _step(self, taking: _States, character: str) -> _States:
        key = (taking, character)
        found = self._steps.get(key)
        if found is None:
            found = frozenset(_taken(self._program, dict.fromkeys(taking, 0), character))
            if len(self._steps) >= _MAX_KEPT:
                self._steps.clear()
            self._steps[key] = found
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
