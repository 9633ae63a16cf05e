"""What a command writes: one JSON document or text on stdout, notes on stderr."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from otel_queue_plugins.cli.queues.failures import printable, write_error
from otel_queue_plugins.cli.view.line import glyphs_for

Row = Sequence[tuple[str, str]]
"""The cells of a line, each a text and its style."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command: whoever reads stdout has seen enough, and nothing failed."""
        raise BrokenPipeError


class Output:
    """Stdout and stderr of one command. Colours and links go to terminals alone."""

    def __init__(self, parsed: Namespace) -> None:
        self.as_json: bool = parsed.json
        self.is_quiet: bool = parsed.quiet
        self.console = _Console(force_terminal=sys.stdout.isatty(), highlight=False)
        self.notices = Console(stderr=True, force_terminal=sys.stderr.isatty(), highlight=False)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody reads stdout as it is written."""
        return self.console.is_terminal

    def document(self, document: Mapping[str, object]) -> None:
        """Write the one JSON document."""
        print(json.dumps(document, indent=2), flush=True)  # noqa: T201

    def line(self, line: str | Text = "") -> None:
        """Write a line of text; a terminal that is too narrow breaks it."""
        self.console.print(line, soft_wrap=not self.is_terminal, markup=False)

    def info(self, text: str) -> None:
        """Write a line to stderr, unless the command is to be quiet."""
        if not self.is_quiet:
            write_error(text)

    def table_lines(
        self, heading: Sequence[str], rows: Sequence[Row], numbers: Sequence[int]
    ) -> list[Text]:
        """The lines of a table. A terminal gets them in its width, other readers in full."""
        cells = [[(text, "dim") for text in heading], *rows]
        cells = [[(printable(text), style) for text, style in row] for row in cells]
        widths = [max(cell_len(row[i][0]) for row in cells) for i in range(len(heading))]
        if self.is_terminal:
            over = sum(widths) + 2 * (len(widths) - 1) - self.console.width
            widths[0] = max(8, widths[0] - max(0, over))
        return [self._line(row, widths, numbers) for row in cells]

    def _line(self, row: Row, widths: Sequence[int], numbers: Sequence[int]) -> Text:
        line, ellipsis = Text(), glyphs_for(self.console).ellipsis
        for index, ((text, style), width) in enumerate(zip(row, widths, strict=True)):
            cell = Text(text, style)
            if cell.cell_len > width:
                cell.right_crop(cell.cell_len - width + len(ellipsis))
                cell.append(ellipsis)
            pad = width - cell.cell_len
            gap = "  " if index else ""
            line.append(gap + " " * pad * (index in numbers))
            line.append_text(cell)
            line.append(" " * pad * (index not in numbers))
        line.rstrip()
        return line
