"""Paths to values in the arguments of a task."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.policy.arguments import ArgumentPath, Arguments, parsed, value_at
from otel_queue_plugins.core.policy.redaction import DEFAULT, Redaction

ID = UUID("123e4567-e89b-12d3-a456-426614174000")


@dataclass
class Tenant:
    id: int

    @property
    def secret(self) -> str:
        raise AssertionError("code of a user")


class Point(NamedTuple):
    x: int


class Level(str, enum.Enum):
    HIGH = "high"


class Hostile(dict):  # type: ignore[type-arg]
    def get(self, *_: Any) -> Any:
        raise AssertionError("code of a user")

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


def charge(tenant: Any, amount: int = 7, *rest: Any, note: str = "none", **more: Any) -> None:
    """A task."""


def look(path: str, *args: Any, redaction: Redaction = DEFAULT, **kwargs: Any) -> Any:
    """What is at `path` in the arguments of `charge`."""
    return value_at(parsed("key", path), Arguments(args, kwargs, charge), redaction)


@pytest.mark.parametrize(
    ("path", "args", "kwargs", "value"),
    [
        ("tenant", ("acme",), {}, "acme"),
        ("params.tenant", ("acme",), {}, "acme"),
        ("tenant", (), {"tenant": "acme"}, "acme"),
        ("amount", ("acme", 9), {}, 9),
        ("amount", ("acme",), {}, 7),
        ("note", ("acme", 1, "x"), {}, "none"),
        ("note", ("acme",), {"note": "n"}, "n"),
        ("extra", ("acme",), {"extra": True}, True),
        ("missing", ("acme",), {}, None),
        ("args.0", ("acme",), {}, "acme"),
        ("args.2", ("acme",), {}, None),
        ("kwargs.tenant", ("acme",), {}, None),
        ("kwargs.tenant", (), {"tenant": 1.5}, 1.5),
        ("tenant.id", ({"id": 3},), {}, 3),
        ("tenant.0.id", ([{"id": 3}],), {}, 3),
        ("tenant.id", (Tenant(id=3),), {}, 3),
        ("tenant.secret", (Tenant(id=3),), {}, None),
        ("tenant.id", (Hostile(id=3),), {}, 3),
        ("tenant.0", (Point(3),), {}, 3),
        ("tenant.1", ([1],), {}, None),
        ("tenant.id", (None,), {}, None),
        ("tenant.id.deeper", ({"id": 3},), {}, None),
        ("args.0.a.b", ({"a": {"b": "c"}},), {}, "c"),
        ("tenant", (ID,), {}, str(ID)),
        ("tenant", (Level.HIGH,), {}, "high"),
        ("tenant", (None,), {}, None),
        ("tenant", ([1],), {}, None),
        ("tenant", (float("nan"),), {}, None),
        ("tenant", (b"bytes",), {}, None),
        ("tenant", (2**80,), {}, str(2**80)),
        ("tenant", ("x" * 300,), {}, "x" * 256),
        ("tenant", ("password=x",), {}, "password=[redacted:credentials]"),
    ],
)
def test_path_leads_to_scalar(path: str, args: Any, kwargs: Any, value: Any) -> None:
    """By the signature, by position, by name, and inside; no code of a user is called."""
    assert look(path, *args, **kwargs) == value


def test_number_is_redacted_where_a_rule_says_so() -> None:
    """A card number is one, whatever its type."""
    assert look("tenant", 4111111111111111) == 4111111111111111
    assert look("tenant", 4111111111111111, redaction=Redaction(["card"])) == "[redacted:card]"


def test_name_is_looked_up_in_kwargs_where_the_function_is_not_known() -> None:
    """As for a task of another app."""
    path = parsed("key", "tenant")
    assert value_at(path, Arguments((1,), {"tenant": 2}), DEFAULT) == 2
    assert value_at(path, Arguments((1,), {}), DEFAULT) is None
    assert value_at(path, Arguments((1,), {}, dict.fromkeys), DEFAULT) is None  # no signature


@given(st.from_regex(r"[a-z0-9.]{1,12}", fullmatch=True), st.lists(st.integers() | st.text()))
def test_no_path_raises_on_any_arguments(path: str, args: list[Any]) -> None:
    """What is no scalar, or not there, is None."""
    try:
        found = parsed("key", path)
    except ValueError:
        return
    value = value_at(found, Arguments(args, {"a": args}, charge), DEFAULT)
    assert value is None or isinstance(value, (str, int))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "a=tenant.id, b=kwargs.user,c=args.0",
            [("", "tenant"), ("kwargs", "user"), ("args", "0")],
        ),
        ({"a": "args"}, [("", "args")]),
        ({"a": "params.kwargs.x"}, [("", "kwargs")]),
        ((ArgumentPath("a", "", ("x",)),), [("", "x")]),
    ],
)
def test_correlation_option_is_a_mapping_or_a_text(value: Any, expected: Any) -> None:
    """A leading `params.` is left out."""
    paths = Options(correlation=value).correlation
    assert [(path.source, path.parts[0]) for path in paths] == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("tenant", "'' is not a path"),
        ("=tenant", "'' is not a key"),
        ("a b=tenant", "'a b' is not a key"),
        ("k" * 65 + "=tenant", "is not a key of 1 to 64"),
        ("a=x..y", "'x..y' is not a path"),
        ("a=args.first", "has no number after 'args.'"),
        ({"a": 5}, "5 is not a path"),
        ({5: "a"}, "5 is not a key"),
        (5, "5 is not a mapping of keys to paths, nor KEY=PATH"),
        ((5,), "is not a mapping"),
    ],
)
def test_wrong_correlation_raises_with_value(value: Any, reason: str) -> None:
    """In the constructor, where the user sees it."""
    with pytest.raises(ValueError, match="correlation: ") as raised:
        Options(correlation=value)
    assert reason in str(raised.value)
