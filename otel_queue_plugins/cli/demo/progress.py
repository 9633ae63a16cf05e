"""What the demo is doing, while it does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from otel_queue_plugins.cli.view.line import glyphs_for
from otel_queue_plugins.cli.view.quantity import duration

_TITLE = 11
_BAR = 20

Say = Callable[[str], None]


class Progress:
    """Writes a line for each step that is done; on a terminal also what the current one is at."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._glyphs = glyphs_for(console)

    @contextmanager
    def step(self, title: str) -> Iterator[Say]:
        """A step of the run. What is said last stays on its line."""
        said = ""
        begun = time.monotonic()
        with self._console.status(title.ljust(_TITLE)) as status:

            def say(text: str) -> None:
                nonlocal said
                said = text
                status.update(f"{title:{_TITLE}} {text}")

            try:
                yield say
            except BaseException:
                self._print(self._glyphs.failed, "red", title, said, begun)
                raise
        self._print(self._glyphs.ok, "green", title, said, begun)

    def bar(self, done: int, whole: int) -> str:
        """A bar of fixed length, filled to `done` of `whole`."""
        filled = done * _BAR // max(1, whole)
        return self._glyphs.run * filled + self._glyphs.queued * (_BAR - filled)

    def _print(self, sign: str, style: str, title: str, said: str, begun: float) -> None:
        line = Text(f"{sign} ", style)
        line.append(f"{title:{_TITLE}} ", "default")
        line.append(said, "bright_black")
        line.append(f"  {duration(time.monotonic() - begun)}", "bright_black")
        self._console.print(line, highlight=False)
