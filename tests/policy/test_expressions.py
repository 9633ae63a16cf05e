"""Expressions of users: matched in one pass, as `re` matches them, whatever text comes."""

from __future__ import annotations

import re
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.core.policy import matching
from otel_queue_plugins.core.policy.expressions import MAX_STATES, compiled
from otel_queue_plugins.core.policy.matching import LinearExpression

_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "é", r"\.", "(?:ab|b)"])
_QUANTIFIERS = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "{,2}", "*?"])
_PIECES = st.tuples(_ATOMS, _QUANTIFIERS).map("".join)
_SEQUENCES = st.lists(_PIECES, min_size=1, max_size=4).map("".join)
_PATTERNS = st.lists(_SEQUENCES, min_size=1, max_size=3).map("|".join)
_TEXTS = st.text(alphabet="ab1.é-\n", max_size=12)

CATASTROPHIC = (
    *(r"(a+)+$", r"(a|aa)+$", r"(a|b?a)+$", r"([a-zA-Z]+)*\d", r"(x+x+)+y", r"(.*)*X"),
    *(r"\w+@x", r"(a?){25}a{25}", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(\s*a\s*)+;", r"(.*a){10}!"),
)
HOSTILE = ("a" * 4_352, "a" * 4_351 + "!", "x" * 4_352, "aB1 " * 1_088, " a" * 2_176)


def covered(pattern: str, text: str) -> set[int]:
    """The places in `text` that some match of `re` covers, tried for every part of it."""
    whole = re.compile(pattern)
    return {
        place
        for begin in range(len(text))
        for end in range(begin + 1, len(text) + 1)
        if whole.fullmatch(text, begin, end)
        for place in range(begin, end)
    }


@given(_PATTERNS, _TEXTS)
def test_expression_covers_what_re_can_match(pattern: str, text: str) -> None:
    """No more and no less: each place that a match of `re` may cover, wherever it begins."""
    if re.fullmatch(pattern, ""):
        with pytest.raises(ValueError, match="empty"):
            LinearExpression(pattern)
        return
    expression = LinearExpression(pattern)
    found = {place for begin, end in expression.spans(text) for place in range(begin, end)}
    assert found == covered(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"^ab", "ab ab", [(0, 2)]),
        (r"\Aab", "ab ab", [(0, 2)]),
        (r"ab$", "ab ab\n", [(3, 5)]),
        (r"ab\Z", "ab ab", [(3, 5)]),
        (r"\bab\b", "cab ab_ ab", [(8, 10)]),
        (r"\Bb", "ab b", [(1, 2)]),
        (r"(?i)acme-\d+", "x ACME-42", [(2, 8), (2, 9)]),
        (r"(?is)a.b", "A\nB", [(0, 3)]),
        (r"(?P<name>ab)c", "abc", [(0, 3)]),
        (r"[]a]\]", "a] ]]", [(0, 2), (3, 5)]),
        (r"x{a}{}", "x{a}{}", [(0, 6)]),
        (r"\x41\u00e9\0", "Aé\0", [(0, 3)]),
        (r"\N{DEGREE SIGN}{2}", "°°", [(0, 2)]),
        (r"a{2,}", "aaa", [(0, 2), (0, 3)]),
        (r"a+?b", "aab", [(0, 3)]),
    ],
)
def test_expression_has_syntax_of_re(
    pattern: str, text: str, expected: list[tuple[int, int]]
) -> None:
    """Anchors, flags, groups, escapes and quantifiers mean what they mean in `re`."""
    assert LinearExpression(pattern).spans(text) == expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "it is no regular expression"),
        ("a{99999999999}", "it is no regular expression"),
        ("a" * 501, "more than 500 characters"),
        (r"(a)\1", "it must not have"),
        ("(?P<x>a)(?P=x)", "it must not have"),
        ("a(?=b)", "it must not have"),
        ("(?<!a)b", "it must not have"),
        ("(?m)^a", "it must not have"),
        ("a{101}", "more than 100 times"),
        ("(a{50}){50}", "it is too large"),
        ("(?:(?:(?:){100}){100}){100}a", "it is too large"),
        ("(" * 21 + "a" + ")" * 21, "more than 20 groups"),
        ("a*", "it matches the empty text"),
        (r"\b", "it matches the empty text"),
        ("^$", "it matches the empty text"),
    ],
)
def test_expression_that_cannot_be_used_says_why(pattern: str, reason: str) -> None:
    """When it is given, not when a task fails."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        LinearExpression(pattern)


def test_possessive_quantifier_is_refused() -> None:
    """In Python 3.10 `re` refuses it, in later versions we do."""
    with pytest.raises(ValueError, match=r"possessive|multiple repeat"):
        LinearExpression("a++b")


@pytest.mark.parametrize("pattern", CATASTROPHIC)
@pytest.mark.parametrize("text", HOSTILE, ids=[text[-4:] for text in HOSTILE])
def test_hostile_text_costs_at_most_one_look_at_each_state_for_a_character(
    pattern: str, text: str
) -> None:
    """These patterns take `re` hours, or for ever; here the steps are counted, not the time."""
    looks = 0
    reached = matching._reached

    def counted(*args: object) -> dict[int, int]:
        nonlocal looks
        found = reached(*args)  # type: ignore[arg-type]
        looks += len(found)
        return found

    expression = LinearExpression(pattern)
    with patch.object(matching, "_reached", counted):
        expression.spans(text)
    assert looks <= (len(text) + 1) * len(compiled(pattern).states) * 2
    assert len(compiled(pattern).states) <= MAX_STATES


def test_kept_sets_of_states_are_bounded() -> None:
    """A worker that runs for months does not grow with the texts that it has seen."""
    expression = LinearExpression(r"(a|b)*a(a|b){6}c")
    with patch.object(matching, "_MAX_KEPT", 20):
        for number in range(300):
            text = f"{number:b}".replace("0", "a").replace("1", "b") * 3
            assert expression.spans(text) == []
            assert expression.spans(f"{text}abababac")
    assert expression._kept <= 20
    assert len(expression._sets) <= 21
