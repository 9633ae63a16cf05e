"""The full-screen view, run without a terminal, and what it shows."""

from __future__ import annotations

import asyncio
import io
import json
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from textual.pilot import Pilot

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.cli.main import make_parser
from otel_queue_plugins.cli.top.app import TopApp
from otel_queue_plugins.cli.top.command import session_of
from otel_queue_plugins.cli.top.session import Session
from otel_queue_plugins.cli.top.workers import FoundWorkers
from tests.cli.queue_commands import URL, reader_of

DEADLINE_S = 60.0


Asks = Callable[..., Any]


def replace_in_reader(
    monkeypatch: pytest.MonkeyPatch, redis: Any, method: str, made: Callable[[Asks], Asks]
) -> None:
    """Let every reader of the command have another `method`, made of its own one."""

    def reader(_url: str, framework: str, **_options: Any) -> Any:
        found = reader_of(framework, redis)
        monkeypatch.setattr(found, method, made(getattr(found, method)))
        return found

    monkeypatch.setattr("otel_queue_plugins.cli.queues.access.reader_of_url", reader)


def fail_while(is_away: list[bool], text: str) -> Callable[[Asks], Asks]:
    """Calls fail while there is something in the list: the broker is away."""

    def made(ask: Asks) -> Asks:
        def asked(*args: Any, **options: Any) -> Any:
            if is_away:
                raise BrokerError(text)
            return ask(*args, **options)

        return asked

    return made


class NoWorkers:
    """Workers that have nothing to say."""

    def ask(self) -> FoundWorkers:
        return FoundWorkers(stats=(), problems=())


class View:
    """What a test sees and does."""

    def __init__(self, pilot: Pilot[Any]) -> None:
        self.pilot = pilot
        self.app = pilot.app

    @property
    def lines(self) -> list[str]:
        """The lines on the screen."""
        width, height = self.app.size
        console = Console(file=io.StringIO(), width=width, height=height, record=True)
        console.print(self.app.screen._compositor.render_update(full=True))
        return [line.rstrip() for line in console.export_text().splitlines()]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Press the keys of a text."""
        names = {"*": "asterisk", "=": "equals_sign", ".": "full_stop", " ": "space"}
        await self.pilot.press(*(names.get(each, each) for each in text))

    async def sees(self, *texts: str) -> str:
        """Wait until all of the texts are shown; what is shown then."""
        await self.until(lambda: all(each in self.text for each in texts), texts)
        return self.text

    async def misses(self, *texts: str) -> str:
        """Wait until none of the texts is shown; what is shown then."""
        await self.until(lambda: not any(each in self.text for each in texts), texts)
        return self.text

    async def until(self, is_so: Callable[[], object], what: object = "") -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline, f"{what} did not come about in\n{self.text}"
            await self.pilot.pause(0.02)


Act = Callable[[View], Awaitable[None]]


def run(
    act: Act,
    framework: str,
    *arguments: str,
    size: tuple[int, int] = (100, 30),
    interval: str = "200ms",
    change: Callable[[Session], Session] = lambda session: session,
    workers: Any = None,
) -> TopApp:
    """Run the view with the queues in `redis`, and do something in it."""
    target = ["--url", URL, "--framework", framework, "--interval", interval]
    return run_with([*target, *arguments], act, size=size, change=change, workers=workers)


def run_with(
    arguments: Sequence[str],
    act: Act,
    *,
    size: tuple[int, int] = (100, 30),
    change: Callable[[Session], Session] = lambda session: session,
    workers: Any = None,
) -> TopApp:
    """The same with other arguments."""
    parsed = make_parser().parse_args(["top", *arguments])

    async def go(session: Session) -> TopApp:
        app = TopApp(session)
        async with app.run_test(size=size) as pilot:
            await act(View(pilot))
        return app

    with session_of(parsed) as session:
        return asyncio.run(go(change(replace(session, workers=workers or NoWorkers()))))


def parsed(framework: str, *arguments: str) -> Namespace:
    """Arguments of the command."""
    target = ["--url", URL, "--framework", framework]
    return make_parser().parse_args(["top", *target, *arguments])


def json_of(document: object) -> bytes:
    """A document as a server sends it."""
    return json.dumps(document).encode()
