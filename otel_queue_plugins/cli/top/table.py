"""A table of which only the rows that are seen are drawn, so that a thousand cost no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from otel_queue_plugins.cli.queues.failures import printable
from otel_queue_plugins.cli.top.history import sparkline
from otel_queue_plugins.cli.top.rows import Cell, Column, Row
from otel_queue_plugins.cli.view.glyphs import Glyphs
from otel_queue_plugins.cli.view.line import fitted

_LINE_STYLE: Final = "cyan"
_CURSOR: Final = Style(bgcolor="rgb(48,64,92)", bold=True)


def widths_of(columns: Sequence[Column], rows: Sequence[Row], room: int) -> list[int]:
    """The widths of columns, with one blank between two of them, that fit into `room` cells.

    0 is for a column that is left out.
    """
    widths = [max((_natural(row.cells[i]) for row in rows), default=0) for i in range(len(columns))]
    widths = [
        max(width, cell_len(column.title), column.least * bool(column.most))
        for width, column in zip(widths, columns, strict=True)
    ]
    over = sum(widths) + len(widths) - 1 - room
    for index, column in enumerate(columns):
        if column.most and over < 0:
            grown = min(column.most - widths[index], -over // _growing(columns[index:]))
            widths[index] += grown
            over += grown
        elif column.least and over > 0:
            saved = max(0, min(over, widths[index] - column.least))
            widths[index] -= saved
            over -= saved
    for index, column in enumerate(columns):
        if column.is_optional and over > 0:
            over -= widths[index] + 1
            widths[index] = 0
    return widths


class Table(ScrollView, can_focus=True):
    """Rows under a heading, one of which the cursor is on."""

    DEFAULT_CSS = """
    Table { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "move(-1000000)", "First", show=False),
        Binding("end,G", "move(1000000)", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
    ]

    class Chosen(Message):
        """The row under the cursor was chosen."""

        def __init__(self, table: Table, key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

    class Moved(Message):
        """The cursor is on another row."""

    def __init__(self, columns: Sequence[Column], glyphs: Glyphs, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._columns = columns
        self._glyphs = glyphs
        self._rows: Sequence[Row] = ()
        self._widths: list[int] = []
        self._cursor = 0

    @property
    def key(self) -> str | None:
        """That of the row under the cursor; None if there is no row."""
        return self._rows[self._cursor].key if self._rows else None

    @property
    def keys(self) -> list[str]:
        """Those of all rows, from above."""
        return [row.key for row in self._rows]

    def show(self, rows: Sequence[Row]) -> None:
        """Show other rows. The cursor stays on the row that it was on, if that is still there."""
        key, self._rows = self.key, rows
        place = next((i for i, row in enumerate(rows) if row.key == key), self._cursor)
        self._cursor = max(0, min(place, len(rows) - 1))
        self._fit()

    def on_resize(self, _event: Resize) -> None:
        """Use the room that there is, with the cursor in sight."""
        self._fit()
        self._scroll_to_cursor()

    def on_click(self, event: Click) -> None:
        """Go to the row, or open it if the cursor is there already."""
        index = self.scroll_offset.y + event.y - 1
        if event.y and index < len(self._rows):
            is_there, self._cursor = index == self._cursor, index
            self._changed()
            if is_there:
                self.action_choose()

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        if self._rows:
            self._cursor = max(0, min(self._cursor + rows, len(self._rows) - 1))
            self._changed()

    def action_page(self, pages: int) -> None:
        """Move the cursor by as many rows as are seen."""
        self.action_move(pages * max(1, self.size.height - 1))

    def action_choose(self) -> None:
        """Say that the row under the cursor is chosen."""
        if self.key is not None:
            self.post_message(self.Chosen(self, self.key))

    def render_line(self, y: int) -> Strip:
        """The heading, or a row."""
        width, index = self.scrollable_content_region.width, self.scroll_offset.y + y - 1
        if not self._widths or index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        if y == 0:
            cells: Sequence[Cell] = [(column.title, "dim") for column in self._columns]
        else:
            cells = self._rows[index].cells
        text = fitted(self._text(cells), width, self._glyphs)
        strip = Strip(text.render(self.app.console), width)
        if y > 0 and index == self._cursor and self.has_focus:
            strip = strip.apply_style(_CURSOR)
        return strip.apply_style(self.rich_style)

    def _fit(self) -> None:
        width = self.scrollable_content_region.width
        self.virtual_size = Size(width, len(self._rows) + 1)
        self._widths = widths_of(self._columns, self._rows, width)
        self.refresh()

    def _scroll_to_cursor(self) -> None:
        self.scroll_to_region(
            Region(0, self._cursor, 1, 2), animate=False, force=True, immediate=True
        )

    def _changed(self) -> None:
        self._scroll_to_cursor()
        self.refresh()
        self.post_message(self.Moved())

    def _text(self, cells: Sequence[Cell]) -> Text:
        line = Text()
        for cell, column, width in zip(cells, self._columns, self._widths, strict=True):
            if width:
                line.append(" " if line else "")
                line.append_text(self._drawn(cell, column, width))
        return line

    def _drawn(self, cell: Cell, column: Column, width: int) -> Text:
        if not isinstance(cell, tuple):
            return Text(sparkline(cell, width, self._glyphs.levels), _LINE_STYLE)
        text = Text(printable(cell[0]), cell[1])
        if column.is_number and text.cell_len < width:
            text.pad_left(width - text.cell_len)
        return fitted(text, width, self._glyphs)


def _natural(cell: Cell) -> int:
    return cell_len(printable(cell[0])) if isinstance(cell, tuple) else 0


def _growing(columns: Sequence[Column]) -> int:
    return sum(1 for column in columns if column.most)
