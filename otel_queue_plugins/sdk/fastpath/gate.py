"""Decide whether the fast path is used: the switch, the table of proven versions, the trial."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from otel_queue_plugins.core.settings.definitions import FASTPATH, read
from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.sdk.shared_memory import Claim

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_log = logging.getLogger("otel_queue_plugins")


class UnexpectedSdkError(Exception):
    """The SDK, or its use by the application, is not as expected; the text says what differs."""


class _Part(NamedTuple):
    """One part of the fast path.

    Args:
        proven: Versions of the SDK, without the patch number, that the part was proven with.
        not_needed: Versions in which the public API is as fast.
        cost: What a message costs more without it.
        claim: Taken by the process that logs why the part is off.
    """

    proven: tuple[str, ...]
    not_needed: tuple[str, ...]
    cost: str
    claim: Claim


# The costs are those of tests/benchmarks/COST.md: a send and a process span, and their metrics.
PARTS: Final = {
    "spans": _Part(("1.44", "1.45"), (), "30 us", Claim()),
    "measurements": _Part(("1.45",), ("1.44",), "25 us", Claim()),
    "measurements of others": _Part(("1.44", "1.45"), (), "20 us", Claim()),
    "span encoding": _Part(("1.44", "1.45"), (), "150 us", Claim()),
    "log encoding": _Part(("1.44", "1.45"), (), "75 us", Claim()),
}
_logged: Final[set[tuple[str, str]]] = set()


def attempt(part: str, make: Callable[[], T]) -> T | None:
    """Return what `make` returns; None where the fast path is off for `part`, or `make` raises.

    `part` is a key of `PARTS`. The reason is logged once, unless the user has switched it off.
    """
    if _switch() is False:
        return None
    try:
        if not is_forced():
            _check_version(part)
        return make()
    except Exception as error:  # noqa: BLE001 - the public API is always there
        is_expected = isinstance(error, UnexpectedSdkError)
        _log_reason(part, str(error) if is_expected else f"{type(error).__name__}: {error}")
        return None


def is_forced() -> bool:
    """Whether the user wants the fast path with versions outside the table, too."""
    return _switch() is True


def _switch() -> bool | None:
    """The value of `OTEL_QUEUE_FASTPATH`; None where it is unset or no boolean."""
    return read(Variables(os.environ), FASTPATH)


def _check_version(part: str) -> None:
    version = _version()
    if ".".join(version.split(".")[:2]) not in PARTS[part].proven:
        proven = ", ".join(PARTS[part].proven)
        raise UnexpectedSdkError(
            f"opentelemetry-sdk {version} is not one of the versions it is proven with ({proven})"
        )


def _version() -> str:
    from opentelemetry.sdk.version import __version__

    return __version__


def _log_reason(part: str, reason: str) -> None:
    """Log why `part` is off: at INFO once for a process and its forks, at DEBUG if it is free."""
    reason = " ".join(reason.split())
    if (part, reason) in _logged:
        return
    _logged.add((part, reason))
    is_slow = ".".join(_version_or_empty().split(".")[:2]) not in PARTS[part].not_needed
    _log.log(
        logging.INFO if is_slow and PARTS[part].claim.is_mine() else logging.DEBUG,
        "the fast path for %s is not used, a message costs about %s more: %s (%s=off: no fast path "
        "and no such line; %s=on: also with versions it is not proven with)",
        part,
        PARTS[part].cost,
        reason,
        FASTPATH.variable,
        FASTPATH.variable,
    )


def _version_or_empty() -> str:
    try:
        return _version()
    except ImportError:
        return ""


def forget() -> None:
    """Log each reason once more (for tests)."""
    _logged.clear()
    for part in PARTS.values():
        part.claim.release()
