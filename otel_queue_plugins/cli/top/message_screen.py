"""One message: what it says, and its trace."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import ClassVar, Final

from rich.console import Group, RenderableType
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from otel_queue_plugins.brokers.facts import State, StoredMessage
from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.queues import description
from otel_queue_plugins.cli.top import lines, traces
from otel_queue_plugins.cli.top.changing import Verb
from otel_queue_plugins.cli.top.lines import Key
from otel_queue_plugins.cli.top.screen import TopScreen
from otel_queue_plugins.cli.top.session import Session
from otel_queue_plugins.cli.top.threads import in_thread, start
from otel_queue_plugins.cli.top.trace_tree import MOST_SPANS, TraceTree
from otel_queue_plugins.cli.top.traces import FoundTrace

_NO_SOURCE: Final = (
    "its trace is shown here with --backend-url URL, of Jaeger or Tempo, or with --receive PORT, "
    "which takes OTLP in"
)
_LEAST_S: Final = 1.0
_MOST_LINES: Final = 300
_MOST_CELLS: Final = 2_000


class MessageScreen(TopScreen):
    """The message as it was when it was looked at, and its trace as it grows."""

    CSS = """
    MessageScreen > VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    MessageScreen #facts, MessageScreen #trace { height: auto; }
    MessageScreen #trace { margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back", show=False),
        Binding("c", "copy", "Copy trace id", show=False),
        Binding("o", "open", "Open trace", show=False),
        Binding("r", "look_now", "Look again", show=False),
    ]

    def __init__(self, session: Session, message: StoredMessage) -> None:
        super().__init__(session, f"message {message.id}")
        self._message = message
        self._looks = False
        self._found: FoundTrace | None = None
        self._facts = Static(id="facts")
        self._trace = Static(id="trace")

    def body(self) -> Iterable[Widget]:
        """What it says above, its trace below."""
        with VerticalScroll():
            yield self._facts
            yield self._trace

    def keys(self) -> Sequence[Key]:
        """See `TopScreen`."""
        return [
            ("Esc", "back"),
            ("c", "copy trace id"),
            ("o", "open in browser"),
            *self.change_keys(),
            ("?", "help"),
        ]

    def begin(self) -> None:
        """Show the message, and look for its trace."""
        described = description.lines(
            self._message,
            time.time(),
            as_link=True,
            with_arguments=self.session.parsed.args,
        )
        self._facts.update(Group(*_bounded(described)))
        self.query_one(VerticalScroll).focus()
        self.record("show", matched=1)
        self._look()
        self.set_interval(max(_LEAST_S, self.session.parsed.interval), self._look)

    def action_look_now(self) -> None:
        """Look for its trace again."""
        self._look()

    def action_copy(self) -> None:
        """Copy the id of its trace."""
        self.copy_trace_of(self._message)

    def action_open(self) -> None:
        """Open its trace in the browser."""
        self.open_trace_of(self._message)

    def chosen(self, verb: Verb) -> tuple[str, State, Selection] | None:
        """See `TopScreen`. This message alone."""
        message = self._message
        if verb == "requeue" and message.state != "dead":
            self.say(
                f"only dead letters are requeued; this one is {message.state}", is_problem=True
            )
            return None
        return message.queue, message.state, Selection(id=message.id)

    def changed(self, was_changed: bool | None) -> None:  # noqa: FBT001 - as Textual calls it
        """See `TopScreen`."""
        if was_changed:
            self.say("this is the message as it was before")

    def _look(self) -> None:
        creation = self._message.creation
        if creation is None or not self.session.traces:
            self._show(Text() if creation is None else lines.note(_NO_SOURCE))
        elif not self._looks:
            start(self, partial(self._looked, f"{creation.trace_id:032x}"))

    async def _looked(self, trace_id: str) -> None:
        self._looks = True
        try:
            found = await in_thread(lambda: traces.found(self.session.traces, trace_id))
        finally:
            self._looks = False
        if found == self._found:
            return
        self._found = found
        shown: list[RenderableType] = [lines.problem(each) for each in found.problems]
        if found.spans:
            shown.append(TraceTree(found.spans, self.session.glyphs))
            if len(found.spans) > MOST_SPANS:
                shown.append(lines.note(f"the first {MOST_SPANS} of {len(found.spans):,} spans"))
        elif not shown:
            shown.append(lines.note(f"nothing of trace {trace_id} has come so far"))
        self._show(*shown)

    def _show(self, *shown: RenderableType) -> None:
        self._trace.update(Group(*shown))


def _bounded(described: Iterator[Text]) -> Iterator[Text]:
    """Not more than somebody reads: a header may have megabytes."""
    for line in islice(described, _MOST_LINES):
        if len(line) > _MOST_CELLS:
            line.right_crop(len(line) - _MOST_CELLS)
            line.append(" (cut)", "dim")
        yield line
    if next(described, None) is not None:
        yield lines.note(f"the first {_MOST_LINES} lines; otel-queue show has all")
