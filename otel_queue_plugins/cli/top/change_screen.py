"""A question before a change, how far it is, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final, Literal, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.brokers.facts import Plan
from otel_queue_plugins.cli.queues.movement import StoppedError
from otel_queue_plugins.cli.top import lines
from otel_queue_plugins.cli.top.changing import Changing, Verb
from otel_queue_plugins.cli.top.lines import Lines
from otel_queue_plugins.cli.top.threads import in_thread, start

__all__ = ["ChangeScreen", "Verb"]

Step = Literal["plans", "asks", "changes", "ended"]

_T = TypeVar("_T")
_PROGRESS_S: Final = 0.2


class ChangeScreen(ModalScreen[bool]):
    """Its result is whether something may have been changed."""

    CSS = """
    ChangeScreen { align: center middle; }
    ChangeScreen > Vertical {
        width: 90%; max-width: 100; height: auto; max-height: 80%;
        background: $panel; padding: 1 2;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "Yes", show=False),
        Binding("n,escape,q", "no", "No", show=False),
        Binding("enter", "leave", "Go on", show=False),
    ]

    def __init__(self, changing: Changing) -> None:
        super().__init__()
        self.changing = changing
        self._plan: Plan | None = None
        self._was_changed = False
        self._is_left = False
        self._lines = Lines(wraps=True)
        self._keys = Lines()
        self.step: Step = "plans"

    def compose(self) -> ComposeResult:
        """What is asked or said."""
        with Vertical():
            yield self._lines
            yield self._keys

    def on_mount(self) -> None:
        """Find out what would be changed."""
        self._show(Text("looking what there is ..."))
        self.set_interval(_PROGRESS_S, self._show_progress)
        start(self, self._ask)

    def action_yes(self) -> None:
        """Do it."""
        if self.step == "asks" and self._plan is not None:
            self.step, self._was_changed = "changes", True
            start(self, partial(self._carry_out, self._plan))

    def action_no(self) -> None:
        """Do nothing, or stop what is being done."""
        if self.step == "changes":
            self.changing.stop()
        else:
            self._leave()

    def action_leave(self) -> None:
        """Go back after the end. It is no answer to the question."""
        if self.step == "ended":
            self._leave()

    async def _ask(self) -> None:
        plan = await self._tried(self.changing.plan)
        if plan is None:
            return
        if not plan.matched:
            self._end(Text("nothing to do"))
            return
        self._plan, self.step = plan, "asks"
        shown = [Text(f"{self.changing.question(plan)}?", "bold")]
        if self.changing.selected:
            shown.append(lines.note(f"only {self.changing.selected}"))
        if plan.stays:
            shown.append(lines.note(plan.stays))
        self._show(*shown, keys=[("y", "yes"), ("n", "no")])

    async def _carry_out(self, plan: Plan) -> None:
        said = await self._tried(lambda: self.changing.carry_out(plan))
        if said is not None:
            self._end(*(lines.note(each) for each in said))

    async def _tried(self, act: Callable[[], _T]) -> _T | None:
        """What a call returns; None after it was shown why it failed."""
        try:
            return await in_thread(act)
        except (BrokerError, RefusedError) as error:
            self._end(lines.problem(str(error)))
        except StoppedError:
            self._end(lines.problem(f"stopped: {self.changing.done:,} messages were changed"))
        return None

    def _show_progress(self) -> None:
        if self.step == "changes" and self._plan is not None:
            far = f"{self.changing.done:,} of {self._plan.matched:,} messages ..."
            self._show(Text(far), keys=[("Esc", "stop")])

    def _end(self, *shown: Text) -> None:
        self.step = "ended"
        self._show(*shown, keys=[("Enter", "go on")])

    def _leave(self) -> None:
        if not self._is_left:
            self._is_left = True
            self.dismiss(self._was_changed)

    def _show(self, *shown: Text, keys: list[lines.Key] | None = None) -> None:
        self._lines.show(*shown)
        self._keys.show(Text(), lines.keys(keys or [("Esc", "leave")]))

    def on_unmount(self) -> None:
        """Leave the connection to be closed."""
        start(self.app, partial(in_thread, self.changing.close))
