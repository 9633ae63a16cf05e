"""Environment variables: what a value means, and the problems with it."""

from __future__ import annotations

import logging
import re

import pytest

from otel_queue_plugins.core.settings.definitions import Setting, is_strict, read
from otel_queue_plugins.core.settings.kinds import Flag, Globs, Seconds
from otel_queue_plugins.core.settings.problems import (
    Problem,
    merged,
    nearest,
    report,
    without_secrets,
)
from otel_queue_plugins.core.settings.variables import Variables


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "True", "1", "yes", "YES", "on", " on ")),
        *((text, False) for text in ("false", "0", "no", "off", "OFF")),
        *((text, None) for text in ("", "  ", "2", "maybe", "y", "t")),
    ],
)
def test_flag_accepts_eight_spellings_in_any_case(text: str, value: bool | None) -> None:
    """Anything else is the default, and a problem unless it is empty."""
    for default in (True, False):
        variables = Variables({"X": text})
        setting = Setting(variable="X", kind=Flag(), default=default, text="")
        assert read(variables, setting) is (default if value is None else value)
        assert bool(variables.problems) is (value is None and bool(text.strip()))
    assert is_strict({"OTEL_QUEUE_STRICT": text}) is bool(value)


@pytest.mark.parametrize(
    ("text", "whole", "number"),
    [
        ("", True, None),
        ("3", True, 3),
        ("2.5", True, None),
        ("2.5", False, 2.5),
        ("inf", False, None),
        ("nan", False, None),
        ("0", False, None),
        ("x", False, None),
    ],
)
def test_number_must_be_finite_and_at_least_the_minimum(
    text: str, whole: bool, number: float | None
) -> None:
    """Anything else counts as unset."""
    assert Variables({"X": text}).number("X", at_least=1, whole=whole) == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2.5", 2.5), ("0", 0.0), ("", 7.0), *((text, None) for text in ("-1", "inf", "nan", "soon"))],
)
def test_seconds_must_be_finite_and_not_negative(text: str, seconds: float | None) -> None:
    """Anything else is the default, and a problem with the choices."""
    variables = Variables({"X": text})
    setting = Setting(variable="X", kind=Seconds(), default=7.0, text="")
    assert read(variables, setting) == (7.0 if seconds is None else seconds)
    fixes = [problem.fix for problem in variables.problems]
    assert fixes == ["use a number of at least 0"] * (seconds is None)


def test_seconds_as_an_argument_must_be_a_number() -> None:
    """A flag is no number."""
    assert Seconds().check(2) == 2.0
    for value in (True, "2", None):
        with pytest.raises(ValueError, match="is not a number of at least 0"):
            Seconds().check(value)


def test_first_variable_with_a_value_is_read() -> None:
    """An empty variable counts as unset."""
    variables = Variables({"A": " ", "B": "b", "C": "c"})
    assert variables.text("A", "B", "C") == ("B", "b")
    assert variables.text("A", "D") == ("", "")
    assert variables.names() == ["B", "C"]
    assert (variables.is_set_but_empty("A"), variables.is_set_but_empty("D")) == (True, False)
    assert variables.choice(("A",), ("b",)) == ""
    assert variables.choice(("B",), ("b",)) == "b"
    assert variables.choice(("C",), ("b",)) == ""
    assert [str(problem) for problem in variables.problems] == ["C='c': use one of b"]


def test_problems_that_differ_only_in_signal_are_merged() -> None:
    """One problem with both signals remains."""
    one = Problem(variable="X", value="x", fix="y", signals=("traces",))
    two = Problem(variable="X", value="x", fix="y", signals=("metrics",))
    assert [each.signals for each in merged([one, two, one])] == [("traces", "metrics")]


def test_problem_is_logged_once_with_its_effect(caplog: pytest.LogCaptureFixture) -> None:
    """At ERROR with the signals it turns off; a warning at WARNING, which turns off nothing."""
    wrong = Problem(variable="X", value="x", fix="y", signals=("traces",))
    warn = Problem(variable="X", value="", fix="y", signals=("traces",), is_warning=True)
    report([wrong, warn])
    report([wrong, warn])
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "X='x': y (traces off)"),
        (logging.WARNING, "X: y"),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h/x?key=1 and more", "http://***@h/x?*** and more"),
        ("u:p@h:4317", "***@h:4317"),
        ("to='u:p@h'", "to='***@h'"),
        ("two\nlines", "two lines"),
        ("nothing: of the kind? No.", "nothing: of the kind? No."),
    ],
)
def test_secrets_of_urls_are_replaced(text: str, shown: str) -> None:
    """User, password and query of a URL are not logged."""
    assert without_secrets(text) == shown


def test_nearest_returns_a_similar_name_or_nothing() -> None:
    """A name that is not similar enough gives an empty string."""
    assert nearest("relaton", ["relation", "span_name"]) == "relation"
    assert nearest("x", ["relation", "span_name"]) == ""


@pytest.mark.parametrize(
    ("value", "names"),
    [("", ()), (" celery , mail.* ,", ("celery", "mail.*")), (["celery", " "], ("celery",))],
)
def test_globs_are_the_names_between_commas(value: object, names: tuple[str, ...]) -> None:
    """Or those of a collection; what is empty is left out."""
    assert Globs().check(value) == names


@pytest.mark.parametrize("value", [5, None, [b"celery"]])
def test_globs_of_another_type_are_an_error_that_names_the_value(value: object) -> None:
    """And says what is expected."""
    with pytest.raises(ValueError, match=re.escape(f"{value!r} is not names or globs")):
        Globs().check(value)
