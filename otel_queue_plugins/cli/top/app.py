"""The program of the full-screen view: its screens, and the looks that it repeats."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from typing import ClassVar, Final

from rich.console import RenderableType
from textual.app import App
from textual.binding import Binding, BindingType

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.cli.top import terminal
from otel_queue_plugins.cli.top.change_screen import ChangeScreen
from otel_queue_plugins.cli.top.changing import Changing
from otel_queue_plugins.cli.top.queues_screen import QueuesScreen
from otel_queue_plugins.cli.top.screen import TopScreen
from otel_queue_plugins.cli.top.session import Session
from otel_queue_plugins.cli.top.threads import in_thread, start

_LONGEST_WAIT_S: Final = 10.0
_WORKERS_S: Final = 5.0
_LONGEST_SILENCE_S: Final = 60.0
_TERMINAL_S: Final = 1.0
_ENDING_S: Final = 1.0
_RECORD_S: Final = 6.0


class TopApp(App[None]):
    """Runs until somebody ends it, or closes the terminal.

    `failure` is what ended it if no later look can do better: a client library that is missing.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "end", "End", show=False, priority=True)
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.interrupted: list[Changing] = []
        self.failure: Exception | None = None
        self._wanted = asyncio.Event()

    def on_mount(self) -> None:
        """Begin."""
        self._handle_signals()
        self.push_screen(QueuesScreen(self.session))
        start(self, self._look_at_queues)
        start(self, self._ask_workers)
        if not self.is_headless:
            self.set_interval(_TERMINAL_S, self._look_at_terminal)

    def action_end(self, code: int = 0) -> None:
        """End at once; what is being changed ends before its next message."""
        changes = [each.changing for each in self.screen_stack if isinstance(each, ChangeScreen)]
        for changing in changes:
            changing.stop()
        self.interrupted += changes
        self.exit(return_code=code)

    def wait_for_changes(self) -> None:
        """Wait until what was interrupted has ended, and is recorded."""
        for changing in self.interrupted:
            changing.wait(_RECORD_S)

    def action_look_now(self) -> None:
        """Do not wait for the next look."""
        self._wanted.set()

    def panic(self, *renderables: RenderableType) -> None:
        """End with what went wrong; that the terminal was closed is nothing that did."""
        if not self.is_headless and terminal.is_closed():
            self._hang_up()
        else:
            super().panic(*renderables)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
            loop.add_signal_handler(signal.SIGINT, self.action_end)
            loop.add_signal_handler(signal.SIGTERM, self.action_end, 128 + signal.SIGTERM)
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _hang_up(self) -> None:
        """End without a terminal: what draws may wait for ever for one that is gone."""
        self.action_end()
        threading.Thread(target=self._leave, name="otel-queue-top-end", daemon=True).start()

    def _leave(self) -> None:
        self.wait_for_changes()
        time.sleep(_ENDING_S)
        os._exit(0)

    def _look_at_terminal(self) -> None:
        if terminal.is_closed():
            self._hang_up()

    async def _look_at_queues(self) -> None:
        interval = self.session.parsed.interval
        wait = interval
        while True:
            try:
                states = await in_thread(self.session.queues.states)
            except BrokerError as error:
                wait = max(interval, min(_LONGEST_WAIT_S, 2 * wait))
                self.session.numbers.fail(f"away, again in {wait:g} s: {error}")
            except Exception as error:  # noqa: BLE001 - raised again when the terminal is back
                self.failure = error
                self.action_end()
                return
            else:
                wait = interval
                self.session.numbers.take(states)
            self._renew()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), wait)
            self._wanted.clear()

    async def _ask_workers(self) -> None:
        interval = wait = max(self.session.parsed.interval, _WORKERS_S)
        while True:
            found = self.session.numbers.workers = await in_thread(self.session.workers.ask)
            self._renew()
            is_silent = bool(found.problems) and not found.stats
            wait = max(interval, min(_LONGEST_SILENCE_S, 2 * wait)) if is_silent else interval
            await asyncio.sleep(wait)

    def _renew(self) -> None:
        if isinstance(self.screen, TopScreen):
            self.screen.renew()
