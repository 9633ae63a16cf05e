"""Whether the fast path is used: the switch, the table of proven versions, and the trial."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from otel_queue_plugins.core.settings.variables import FLAGS
from otel_queue_plugins.sdk.process.shared_memory import Claim

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

VARIABLE: Final = "OTEL_QUEUE_FASTPATH"

_log = logging.getLogger("otel_queue_plugins")


class DifferentError(Exception):
    """The SDK, or what uses it, is not as the fast path knows it; the text says in what."""


class _Part(NamedTuple):
    """What is faster with which versions of the SDK, and what a message costs without."""

    proven: tuple[str, ...]
    not_needed: tuple[str, ...]
    cost: str
    claim: Claim


# The costs are those of tests/benchmarks/COST.md: a send and a process span, and their metrics.
_PARTS: Final = {
    "spans": _Part(("1.44", "1.45"), (), "30 us", Claim()),
    "measurements": _Part(("1.45",), ("1.44",), "25 us", Claim()),
    "measurements of others": _Part(("1.44", "1.45"), (), "20 us", Claim()),
    "span encoding": _Part(("1.44", "1.45"), (), "150 us", Claim()),
    "log encoding": _Part(("1.44", "1.45"), (), "75 us", Claim()),
}
_said: Final[set[tuple[str, str]]] = set()


def attempt(part: str, make: Callable[[], T]) -> T | None:
    """What `make` returns; None where the fast path for `part` is off, or `make` raises.

    `part` is one of `_PARTS`. Why it is off is said once, unless the user wants it so.
    """
    if _wanted() is False:
        return None
    try:
        if not is_forced():
            _check_version(part)
        return make()
    except Exception as why:  # noqa: BLE001 - whatever it is, there is the public API
        _say(part, str(why) if isinstance(why, DifferentError) else f"{type(why).__name__}: {why}")
        return None


def is_forced() -> bool:
    """Whether it is to be used with versions, too, that it is not proven with."""
    return _wanted() is True


def _wanted() -> bool | None:
    return FLAGS.get(os.environ.get(VARIABLE, "").strip().lower())


def _check_version(part: str) -> None:
    version = _version()
    if ".".join(version.split(".")[:2]) not in _PARTS[part].proven:
        proven = ", ".join(_PARTS[part].proven)
        raise DifferentError(
            f"opentelemetry-sdk {version} is not one of the versions it is proven with ({proven})"
        )


def _version() -> str:
    from opentelemetry.sdk.version import __version__

    return __version__


def _say(part: str, why: str) -> None:
    """At INFO once for a process and all that it forks, where it costs anything."""
    why = " ".join(why.split())
    if (part, why) in _said:
        return
    _said.add((part, why))
    is_slow = ".".join(_version_or_none().split(".")[:2]) not in _PARTS[part].not_needed
    _log.log(
        logging.INFO if is_slow and _PARTS[part].claim.is_mine() else logging.DEBUG,
        "the fast path for %s is not used, a message costs about %s more: %s (%s=off: no fast path "
        "and no such line; %s=on: also with versions it is not proven with)",
        part,
        _PARTS[part].cost,
        why,
        VARIABLE,
        VARIABLE,
    )


def _version_or_none() -> str:
    try:
        return _version()
    except ImportError:
        return ""


def forget() -> None:
    """Say everything once more."""
    _said.clear()
    for part in _PARTS.values():
        part.claim.release()
