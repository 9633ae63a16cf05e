"""Lines above and below what a screen shows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from rich.console import Group
from rich.text import Text
from textual.widgets import Static

from otel_queue_plugins.cli.queues.failures import printable
from otel_queue_plugins.cli.top.session import Session
from otel_queue_plugins.core.settings.problems import without_secrets

Key = tuple[str, str]
"""A key, and what it does."""

_GAP: Final = "  "


class Lines(Static):
    """Texts that are cut at the edge, or go on in the next line if it `wraps`."""

    DEFAULT_CSS = "Lines { height: auto; }"

    def __init__(self, *, id: str | None = None, wraps: bool = False) -> None:  # noqa: A002
        super().__init__(id=id)
        self._wraps = wraps
        self.display = False
        self._lines: tuple[Text, ...] = ()

    def show(self, *lines: Text) -> None:
        """Show these. What is shown already is not drawn again."""
        if lines == self._lines:
            return
        for line in () if self._wraps else lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        self.update(Group(*lines), layout=self._wraps or len(lines) != len(self._lines))
        self._lines = lines
        self.display = bool(lines)


def title(session: Session, what: str) -> Text:
    """The first line of a screen."""
    source, numbers = session.source, session.numbers
    line = Text.assemble((printable(what), "bold"), f"{_GAP}{source.framework} on {source.url}")
    line.append(_GAP + ("may write" if session.may_write else "read-only"), "yellow")
    if session.receives_at:
        line.append(f"{_GAP}traces at {session.receives_at}", "dim")
    if numbers.looked_at:
        line.append(_GAP + time.strftime("%H:%M:%S", time.localtime(numbers.looked_at)), "dim")
    return line


def problem(text: str) -> Text:
    """A line about what went wrong, without passwords."""
    return Text(without_secrets(printable(" ".join(text.split()))), "red")


def note(text: str) -> Text:
    """A line about what is shown."""
    return Text(without_secrets(printable(" ".join(text.split()))), "dim")


def keys(pairs: Sequence[Key]) -> Text:
    """What keys do."""
    line = Text()
    for key, act in pairs:
        line.append(_GAP if line else "").append(key, "bold reverse").append(f" {act}")
    return line
