"""What the keys do."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from otel_queue_plugins.cli.top.lines import Lines

_KEYS: Final = (
    ("Enter", "into a queue; into a message"),
    ("Esc", "back"),
    ("up down, j k", "another row; PgUp PgDn Home End, too"),
    ("Tab", "queues or workers"),
    ("1 2 3 4", "messages that are ready, delayed, unacked, dead; left and right, too"),
    ("/", "filter: part of a name; for messages also task=GLOB id=BEGINNING older=10m"),
    ("i", "find a message by its id, or by the beginning of it"),
    ("s", "sort the queues: by name, ready, oldest, dead"),
    ("r", "look again now"),
    ("c", "copy the trace id"),
    ("o", "open the trace in the browser"),
    ("R", "requeue dead letters: all of a queue, those that the filter shows, or one"),
    ("P", "purge messages, likewise"),
    ("?", "this help"),
    ("q, Ctrl-C", "end"),
)
_READ_ONLY: Final = "R and P do nothing: start it with --write to change queues."
_WRITE: Final = "R and P ask first, with the number of messages."


class HelpScreen(ModalScreen[None]):
    """Any of its keys leads back."""

    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll {
        width: 90%; max-width: 100; height: auto; max-height: 90%;
        background: $panel; padding: 1 2;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,enter,q", "dismiss", "Back", show=False)
    ]

    def __init__(self, *, may_write: bool) -> None:
        super().__init__()
        self._may_write = may_write

    def compose(self) -> ComposeResult:
        """A line for each key."""
        with VerticalScroll():
            yield Lines(wraps=True)

    def on_mount(self) -> None:
        """Show them."""
        shown = [Text.assemble((f"{key:<14}", "bold"), act) for key, act in _KEYS]
        self.query_one(Lines).show(
            *shown, Text(), Text(_WRITE if self._may_write else _READ_ONLY, "yellow")
        )
