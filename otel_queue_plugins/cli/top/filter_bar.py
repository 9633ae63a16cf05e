"""A line to type a filter into."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class FilterBar(Input):
    """Hidden until it is wanted; Enter filters, Escape leaves the filter as it was."""

    DEFAULT_CSS = """
    FilterBar, FilterBar:focus { border: none; height: 1; padding: 0; display: none; }
    FilterBar.-open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back", show=False)]

    class Left(Message):
        """Nothing more is typed."""

    def begin(self, text: str) -> None:
        """Let somebody type."""
        self.value = text
        self.add_class("-open")
        self.focus()

    def end(self) -> None:
        """Hide it."""
        self.remove_class("-open")

    def action_leave(self) -> None:
        """Leave the filter as it was."""
        self.end()
        self.post_message(self.Left())
