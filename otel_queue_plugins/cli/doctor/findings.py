"""What a check has found: fine, broken or not known, and the line to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result. `ok` is None where it is not known.

    `fix` is the line to change, "" for none. `may_pass` says that something did not answer, which
    no line may be to blame for.
    """

    ok: bool | None
    what: str
    fix: str = ""
    may_pass: bool = False


class Check(NamedTuple):
    """A check. It yields nothing where it does not apply."""

    name: str
    run: Callable[[Case], Iterable[Finding]]


def fine(what: str) -> Finding:
    """Nothing to change."""
    return Finding(ok=True, what=what)


def broken(what: str, fix: str = "", *, may_pass: bool = False) -> Finding:
    """Something to change."""
    return Finding(ok=False, what=what, fix=fix, may_pass=may_pass)


def unknown(what: str, fix: str = "") -> Finding:
    """Nobody can tell from here; `fix` is what to look at."""
    return Finding(ok=None, what=what, fix=fix)
