"""What all screens of `otel-queue top` have in common."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from otel_queue_plugins.brokers.facts import State, StoredMessage
from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.queues.actions import open_in_browser
from otel_queue_plugins.cli.queues.failures import NotFoundError
from otel_queue_plugins.cli.top import lines
from otel_queue_plugins.cli.top.change_screen import ChangeScreen, Verb
from otel_queue_plugins.cli.top.changing import Changing
from otel_queue_plugins.cli.top.help_screen import HelpScreen
from otel_queue_plugins.cli.top.lines import Key, Lines
from otel_queue_plugins.cli.top.session import Session
from otel_queue_plugins.cli.top.threads import in_thread, start
from otel_queue_plugins.trace_links import trace_url_of_message

_SAID_S: Final = 10.0
_OF_TERMINALS: Final = frozenset({"www-browser", "links", "elinks", "lynx", "w3m"})
_NO_TRACE: Final = "there is no trace: who sent it is not traced"
READ_ONLY: Final = "read-only: start it with --write"


class TopScreen(Screen[None]):
    """A title, what is shown, what was said last, and the keys."""

    DEFAULT_CSS = """
    TopScreen > #title { background: $panel; }
    TopScreen > #status { max-height: 4; }
    TopScreen > #keys { background: $panel; dock: bottom; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "Help", show=False),
        Binding("R", "change('requeue')", "Requeue", show=False),
        Binding("P", "change('purge')", "Purge", show=False),
    ]

    def __init__(self, session: Session, what: str) -> None:
        super().__init__()
        self.session = session
        self._what = what
        self._title = Lines(id="title")
        self._status = Lines(id="status", wraps=True)
        self._keys = Lines(id="keys")
        self._said = Text()
        self._said_until = 0.0

    def compose(self) -> ComposeResult:
        """The lines, and between them what the screen is about."""
        yield self._title
        yield from self.body()
        yield self._status
        yield self._keys

    def body(self) -> Iterable[Widget]:
        """What the screen is about."""
        raise NotImplementedError

    def keys(self) -> Sequence[Key]:
        """The keys of this screen."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Show what there is."""
        self.renew()
        self.begin()

    def begin(self) -> None:
        """Do what is done once, when there is something to see."""

    def on_screen_resume(self) -> None:
        """Show what has come while another screen was over this one."""
        self.renew()

    def renew(self) -> None:
        """Show the numbers of the session as they are now."""
        self._title.show(lines.title(self.session, self._what))
        self._keys.show(lines.keys(self.keys()))
        self._show_status()

    def say(self, text: str, *, is_problem: bool = False) -> None:
        """Show a line for a while."""
        self._said = lines.problem(text) if is_problem else lines.note(text)
        self._said_until = time.monotonic() + _SAID_S
        self._show_status()

    def record(self, operation: str, *, matched: int, queue: str = "", state: str = "") -> None:
        """Have a look recorded that somebody has asked for, if such are."""
        record = partial(self.session.record, operation, matched=matched, queue=queue, state=state)
        start(self, partial(in_thread, record))

    def change_keys(self) -> list[Key]:
        """The keys that change something; without --write they say so."""
        if self.session.may_write:
            return [("R", "requeue"), ("P", "purge")]
        return [("R P", "need --write")]

    def action_help(self) -> None:
        """Say what the keys do."""
        self.app.push_screen(HelpScreen(may_write=self.session.may_write))

    def action_change(self, verb: Verb) -> None:
        """Ask whether to change what is shown; without --write, say why not."""
        if not self.session.may_write:
            self.say(f"{READ_ONLY} to {verb}", is_problem=True)
        elif (chosen := self.chosen(verb)) is not None:
            queue, state, selection = chosen
            changing = Changing(self.session.open_access, verb, queue, state, selection)
            self.app.push_screen(ChangeScreen(changing), self.changed)

    def chosen(self, verb: Verb) -> tuple[str, State, Selection] | None:
        """What would be changed; None, after a word about it, if there is nothing."""
        raise NotImplementedError

    def changed(self, was_changed: bool | None) -> None:  # noqa: FBT001 - as Textual calls it
        """Look again after a change."""

    def copy_trace_of(self, message: StoredMessage | None) -> None:
        """Ask the terminal to take the id of the trace into its clipboard."""
        if message and message.creation:
            identity = f"{message.creation.trace_id:032x}"
            self.app.copy_to_clipboard(identity)
            self.say(f"copied the trace id {identity}")
        else:
            self.say(_NO_TRACE, is_problem=True)

    def open_trace_of(self, message: StoredMessage | None) -> None:
        """Show the trace in a browser."""
        if message and message.creation:
            start(self, partial(self._open, trace_url_of_message(message)))
        else:
            self.say(_NO_TRACE, is_problem=True)

    async def _open(self, url: str | None) -> None:
        if url is not None and _is_for_terminals():
            self.say(f"the browser here needs the terminal; the trace is at {url}", is_problem=True)
            return
        try:
            await in_thread(lambda: open_in_browser(url))
        except NotFoundError as error:
            self.say(str(error), is_problem=True)
        else:
            self.say(f"opened {url}")

    def _show_status(self) -> None:
        shown = (
            [lines.problem(self.session.numbers.problem)] if self.session.numbers.problem else []
        )
        if time.monotonic() < self._said_until:
            shown.append(self._said)
        self._status.show(*shown)


def _is_for_terminals() -> bool:
    """Whether the browser would draw over this view."""
    try:
        name = getattr(webbrowser.get(), "name", "")
    except webbrowser.Error:
        return False
    return Path(str(name)).name in _OF_TERMINALS
