"""All queues, and the workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import ClassVar, Final

from textual.binding import Binding, BindingType
from textual.widget import Widget

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.facts import QueueState, State
from otel_queue_plugins.brokers.selection import ALL, Selection
from otel_queue_plugins.cli.queues.queues_command import reasons
from otel_queue_plugins.cli.top import filters, lines, rows
from otel_queue_plugins.cli.top.changing import Verb
from otel_queue_plugins.cli.top.filter_bar import FilterBar
from otel_queue_plugins.cli.top.lines import Key, Lines
from otel_queue_plugins.cli.top.looking import find
from otel_queue_plugins.cli.top.message_screen import MessageScreen
from otel_queue_plugins.cli.top.messages_screen import MessagesScreen
from otel_queue_plugins.cli.top.screen import TopScreen
from otel_queue_plugins.cli.top.session import Session
from otel_queue_plugins.cli.top.table import Table
from otel_queue_plugins.cli.top.threads import in_thread, start
from otel_queue_plugins.cli.workers import command

_NO_QUEUE: Final = "no queue is found; where the broker cannot list them, --queue NAME names one"
_FIND: Final = "find"
_LOOKS: Final = "looking for queues ..."
_SORTS: Final = ("name", "ready", "oldest_age_s", "dead")


class QueuesScreen(TopScreen):
    """The first screen."""

    CSS = """
    QueuesScreen > #queues { height: 1fr; min-height: 4; }
    QueuesScreen > #reasons { max-height: 3; }
    QueuesScreen > #workers { height: auto; max-height: 30%; min-height: 2; margin-top: 1; }
    QueuesScreen > #problems { max-height: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", show=False),
        Binding("i", "find", "Find an id", show=False),
        Binding("s", "sort", "Sort", show=False),
        Binding("q", "app.end", "End", show=False),
        Binding("r", "app.look_now", "Look again", show=False),
        Binding("escape", "all", "All queues", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session, "otel-queue top")
        self._filter = ""
        self._sort = 0
        self._is_recorded = False
        self._queues = Table(rows.QUEUES, session.glyphs, id="queues")
        self._reasons = Lines(id="reasons", wraps=True)
        self._workers = Table(rows.WORKERS, session.glyphs, id="workers")
        self._problems = Lines(id="problems", wraps=True)
        self._bar = FilterBar(placeholder="part of a queue's name, or a pattern with *")
        self._finder = FilterBar(placeholder="the id of a message, or the beginning of one")

    def body(self) -> Iterable[Widget]:
        """Queues above, workers below."""
        yield self._queues
        yield self._reasons
        yield self._workers
        yield self._problems
        yield self._bar
        yield self._finder

    def keys(self) -> Sequence[Key]:
        """See `TopScreen`."""
        return [
            ("Enter", "messages"),
            ("/", "filter"),
            ("i", "id"),
            ("s", "sort"),
            *self.change_keys(),
            ("?", "help"),
            ("q", "end"),
        ]

    def renew(self) -> None:
        """See `TopScreen`."""
        super().renew()
        shown = sorted(
            (
                each
                for each in self.session.numbers.states
                if filters.is_meant(each.name, self._filter)
            ),
            key=self._place,
        )
        if not self._is_recorded and self.session.numbers.looked_at:
            self._is_recorded = True
            self.record("queues", matched=len(self.session.numbers.states))
        self._queues.show(rows.of_queues(shown, self.session.numbers.history))
        self._show_reasons()
        self._show_workers()

    def on_table_moved(self, _event: Table.Moved) -> None:
        """Say why numbers of that queue are not known."""
        self._show_reasons()

    def on_table_chosen(self, event: Table.Chosen) -> None:
        """Go into the queue."""
        if event.table is self._queues:
            self.app.push_screen(MessagesScreen(self.session, event.key))

    def action_filter(self) -> None:
        """Let somebody type a filter."""
        self._bar.begin(self._filter)

    def on_input_submitted(self, event: FilterBar.Submitted) -> None:
        """Filter, or find."""
        text = event.value.strip()
        if event.input is self._bar:
            self._filter = text
        elif text:
            self.say(f"looking for {text} ...")
            start(self, partial(self._find, text), group=_FIND, exclusive=True)
        self._typed()

    def on_filter_bar_left(self, _event: FilterBar.Left) -> None:
        """Go back to the queues."""
        self._typed()

    def action_find(self) -> None:
        """Let somebody type an id."""
        self._finder.begin("")

    def action_all(self) -> None:
        """Leave the filter out."""
        self._filter = ""
        self.renew()

    def action_sort(self) -> None:
        """Sort by the next number."""
        self._sort = (self._sort + 1) % len(_SORTS)
        self.say(f"sorted by {_SORTS[self._sort].removesuffix('_age_s')}")
        self.renew()

    def chosen(self, verb: Verb) -> tuple[str, State, Selection] | None:
        """See `TopScreen`. The dead letters of the queue, or what is ready in it."""
        queue = self._queues.key
        if queue is None:
            self.say("there is no queue", is_problem=True)
            return None
        return queue, "dead" if verb == "requeue" else "ready", ALL

    def changed(self, was_changed: bool | None) -> None:  # noqa: FBT001 - as Textual calls it
        """See `TopScreen`."""
        if was_changed:
            start(self, partial(self.run_action, "app.look_now"))

    def _typed(self) -> None:
        self._bar.end()
        self._finder.end()
        self._queues.focus()
        self.renew()

    async def _find(self, text: str) -> None:
        try:
            found = await in_thread(partial(find, self.session, text))
        except BrokerError as error:
            self.say(str(error), is_problem=True)
            return
        if len(found.messages) == 1:
            self.app.push_screen(MessageScreen(self.session, found.messages[0]))
            return
        self.record("show", matched=len(found.messages))
        line = f"{len(found.messages)} messages have an id that begins with {text}"
        for place, reason in islice(found.unseen.items(), 1):
            line += f"; not looked at: {place}: {reason}"
        self.say(line, is_problem=True)

    def _place(self, state: QueueState) -> tuple[float, str]:
        value = None if self._sort == 0 else getattr(state, _SORTS[self._sort])
        return (-value if value else 0.0, state.name)

    def _show_reasons(self) -> None:
        queue, numbers = self._queues.key, self.session.numbers
        state = None if queue is None else numbers.of(queue)
        shown = [] if state is None or numbers.problem else reasons([state])
        if not numbers.states and numbers.looked_at:
            shown = [_NO_QUEUE]
        if not numbers.looked_at and not numbers.problem:
            shown = [_LOOKS]
        if self._filter:
            shown.insert(0, f"only {self._filter}; Esc shows all")
        self._reasons.show(*(lines.note(each) for each in shown))

    def _show_workers(self) -> None:
        found = self.session.numbers.workers
        stats = found.stats if found else ()
        self._workers.show(rows.of_workers(stats))
        shown = [*found.problems, *command.reasons(stats)] if found else ["workers are asked ..."]
        if found and not shown and not stats:
            shown = ["no worker has answered"]
        self._problems.show(*(lines.note(each) for each in shown))
