"""The messages of one queue, state by state."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.facts import STATES, State, StoredMessage
from otel_queue_plugins.brokers.selection import ALL, Selection
from otel_queue_plugins.cli.top import filters, lines, rows
from otel_queue_plugins.cli.top.changing import Verb
from otel_queue_plugins.cli.top.filter_bar import FilterBar
from otel_queue_plugins.cli.top.lines import Key, Lines
from otel_queue_plugins.cli.top.looking import Seen, look
from otel_queue_plugins.cli.top.message_screen import MessageScreen
from otel_queue_plugins.cli.top.screen import TopScreen
from otel_queue_plugins.cli.top.session import Session
from otel_queue_plugins.cli.top.table import Table
from otel_queue_plugins.cli.top.threads import in_thread, start

_LOOK: Final = "look"


class MessagesScreen(TopScreen):
    """Looks again at every interval where that disturbs nobody."""

    CSS = """
    MessagesScreen > #messages { height: 1fr; min-height: 4; }
    MessagesScreen > #notes { max-height: 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back", show=False),
        *(Binding(str(i), f"state('{s}')", s, show=False) for i, s in enumerate(STATES, 1)),
        Binding("left", "step(-1)", "State before", show=False),
        Binding("right", "step(1)", "Next state", show=False),
        Binding("slash", "filter", "Filter", show=False),
        Binding("r", "look_now", "Look again", show=False),
        Binding("c", "copy", "Copy trace id", show=False),
        Binding("o", "open", "Open trace", show=False),
    ]

    def __init__(self, session: Session, queue: str, state: State = "ready") -> None:
        super().__init__(session, queue)
        self._queue = queue
        self._state: State = state
        self._filter = ""
        self._selection = ALL
        self._seen: Seen | None = None
        self._looks = False
        self._states = Lines(id="states")
        self._table = Table(rows.MESSAGES, session.glyphs, id="messages")
        self._below = Lines(id="notes", wraps=True)
        self._bar = FilterBar(placeholder=filters.HINT)

    def body(self) -> Iterable[Widget]:
        """The states, and the messages in one of them."""
        yield self._states
        yield self._table
        yield self._below
        yield self._bar

    def keys(self) -> Sequence[Key]:
        """See `TopScreen`."""
        return [
            ("1-4", "state"),
            ("Enter", "message"),
            ("/", "filter"),
            ("c", "copy"),
            ("o", "open"),
            *self.change_keys(),
            ("?", "help"),
        ]

    def begin(self) -> None:
        """Look at once, and again."""
        self._show(None)
        self._look()
        self.set_interval(self.session.parsed.interval, self._look_again)

    def renew(self) -> None:
        """See `TopScreen`."""
        super().renew()
        numbers, line = self.session.numbers.of(self._queue), Text()
        for place, state in enumerate(STATES, 1):
            count = getattr(numbers, state, None)
            shown = f" {place} {state} {'?' if count is None else f'{count:,}'} "
            line.append(shown, "bold reverse" if state == self._state else "")
        self._states.show(line)

    def action_state(self, state: State) -> None:
        """Show messages of another state."""
        if state != self._state:
            self._state = state
            self._show(None)
            self.renew()
        self._look()

    def action_step(self, step: int) -> None:
        """Show messages of the state beside this one."""
        self.action_state(STATES[(STATES.index(self._state) + step) % len(STATES)])

    def action_look_now(self) -> None:
        """Look again, also where that disturbs, if that was allowed."""
        self._look()

    def action_filter(self) -> None:
        """Let somebody type a filter."""
        self._bar.begin(self._filter)

    def on_input_submitted(self, event: FilterBar.Submitted) -> None:
        """Filter, if it can be understood."""
        try:
            self._selection = filters.selection_of(event.value)
        except ValueError as error:
            self.say(str(error), is_problem=True)
            return
        self._filter = event.value.strip()
        self._typed()
        self._look()

    def on_filter_bar_left(self, _event: FilterBar.Left) -> None:
        """Go back to the messages."""
        self._typed()

    def on_table_chosen(self, _event: Table.Chosen) -> None:
        """Go into the message."""
        if message := self._message():
            self.app.push_screen(MessageScreen(self.session, message))

    def action_copy(self) -> None:
        """Copy the id of the trace of the message under the cursor."""
        self.copy_trace_of(self._message())

    def action_open(self) -> None:
        """Open that trace in the browser."""
        self.open_trace_of(self._message())

    def chosen(self, verb: Verb) -> tuple[str, State, Selection] | None:
        """See `TopScreen`. What is shown, and what the filter lets through beyond that."""
        if verb == "requeue" and self._state != "dead":
            self.say("only dead letters are requeued: 4 shows them", is_problem=True)
            return None
        return self._queue, self._state, self._selection

    def changed(self, was_changed: bool | None) -> None:  # noqa: FBT001 - as Textual calls it
        """See `TopScreen`."""
        if was_changed:
            self._look_again()

    def _typed(self) -> None:
        self._bar.end()
        self._table.focus()

    def _message(self) -> StoredMessage | None:
        key = self._table.key
        found = self._seen.messages if self._seen else ()
        return next((m for m, row in zip(found, self._rows(), strict=True) if row.key == key), None)

    def _rows(self) -> list[rows.Row]:
        return rows.of_messages(self._seen.messages if self._seen else (), time.time())

    def _look_again(self) -> None:
        is_seen = self.app.screen is self
        if is_seen and not self._looks and (self._seen is None or self._seen.may_be_repeated):
            self._look(is_asked=False)

    def _look(self, *, is_asked: bool = True) -> None:
        start(self, partial(self._looked, is_asked=is_asked), group=_LOOK, exclusive=True)

    async def _looked(self, *, is_asked: bool) -> None:
        self._looks = True
        session, queue, state, selection = self.session, self._queue, self._state, self._selection
        try:
            seen = await in_thread(lambda: look(session, queue, state, selection))
        except BrokerError as error:
            seen = Seen(problem=str(error))
        finally:
            self._looks = False
        self._show(seen)
        if is_asked and not (seen.refused or seen.problem):
            self.record("peek", matched=len(seen.messages), queue=queue, state=state)

    def _show(self, seen: Seen | None) -> None:
        self._seen = seen
        self._table.show(self._rows())
        self._below.show(*self._notes(seen))

    def _notes(self, seen: Seen | None) -> list[Text]:
        if seen is None:
            return [lines.note("looking ...")]
        if seen.problem:
            return [lines.problem(seen.problem)]
        if seen.refused:
            return [lines.problem(f"not looked at: {seen.refused}")]
        shown = []
        most = self.session.parsed.limit
        if self._filter:
            shown.append(lines.note(f"only {self._filter}"))
        if not seen.messages:
            shown.append(lines.note(f"no {self._state} message is one of these"))
        if len(seen.messages) >= most:
            shown.append(lines.note(f"the first {most:,}; -n shows more"))
        if seen.is_disturbed:
            shown.append(lines.note("the look has marked these as redelivered; r looks again"))
        return shown
