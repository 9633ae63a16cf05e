"""Values from the arguments of a task, by paths such as `tenant.id`, `kwargs.user` or `args.0`."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from otel_queue_plugins.core.bounds import int64_or_none
from otel_queue_plugins.core.policy.redaction import Redaction

MAX_VALUE: Final = 256
_KEY: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_PARTS: Final = re.compile(r"[^.]+(?:\.[^.]+)*")
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class Arguments(NamedTuple):
    """The arguments of a task; `function` is what they are for, None if it is not known here."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    function: Callable[..., Any] | None = None


class ArgumentPath(NamedTuple):
    """Where a value is: `source` is `args`, `kwargs`, or "" for a parameter of the function."""

    key: str
    source: str
    parts: tuple[str, ...]


def parsed(key: object, path: object) -> ArgumentPath:
    """The path that a user has given for `key`.

    Raises:
        ValueError: `key` or `path` cannot be used.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a key of 1 to 64 letters, digits, '_', '.' and '-'")
    if not isinstance(path, str) or not _PARTS.fullmatch(path):
        raise ValueError(f"{path!r} is not a path such as tenant.id, kwargs.user or args.0")
    source, _, rest = path.partition(".")
    if source == "args" and rest and not rest.partition(".")[0].isdecimal():
        raise ValueError(f"{path!r} has no number after 'args.'")
    if source not in {"args", "kwargs"} or not rest:
        return ArgumentPath(key, "", tuple(path.removeprefix("params.").split(".")))
    return ArgumentPath(key, source, tuple(rest.split(".")))


def value_at(path: ArgumentPath, arguments: Arguments, redaction: Redaction) -> Any:
    """The scalar at `path`, redacted and cut; None if there is none.

    No code of users is called: what is in an object is read from its `__dict__`.
    """
    name, *inner = path.parts
    try:
        if path.source == "args":
            value = _inside(tuple(arguments.args), name)
        elif path.source == "kwargs":
            value = arguments.kwargs.get(name)
        else:
            value = _parameter(arguments, name)
        for part in inner:
            value = _inside(value, part)
        return scalar(value, redaction)
    except Exception:  # noqa: BLE001 - what looks like arguments may be anything
        return None


def scalar(value: object, redaction: Redaction) -> Any:
    """`value` as an attribute can have it; None if it is no scalar."""
    if isinstance(value, (str, UUID)):
        text = str.__str__(value) if isinstance(value, str) else str(value)
        return redaction.head(text, MAX_VALUE)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        number = int(value)
        return redaction.head(str(number), MAX_VALUE) if _is_text(number, redaction) else number
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return None


def _is_text(number: int, redaction: Redaction) -> bool:
    """Whether `number` is too large for an attribute, or a rule finds something in it."""
    return int64_or_none(number) is None or redaction.whole(str(number)) != str(number)


def _inside(value: object, name: str) -> object:
    if isinstance(value, dict):
        return dict.get(value, name)
    if isinstance(value, (list, tuple)) and name.isdecimal():
        return value[int(name)] if int(name) < len(value) else None
    return dict.get(object.__getattribute__(value, "__dict__"), name)


def _parameter(arguments: Arguments, name: str) -> object:
    """The argument for a parameter, or its default."""
    if name in arguments.kwargs:
        return arguments.kwargs[name]
    if arguments.function is None:
        return None
    place, default = _parameters(arguments.function).get(name, (None, None))
    if place is not None and place < len(arguments.args):
        found: object = arguments.args[place]
        return found
    return default


@lru_cache(maxsize=1024)
def _parameters(function: Callable[..., Any]) -> dict[str, tuple[int | None, object]]:
    """Position (None for one that is given by name only) and default of each parameter."""
    found: dict[str, tuple[int | None, object]] = {}
    for place, (name, each) in enumerate(inspect.signature(function).parameters.items()):
        default = None if each.default is each.empty else each.default
        found[name] = (place if each.kind in _POSITIONAL else None, default)
    return found
