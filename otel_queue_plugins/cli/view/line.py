"""Lines that keep to their width."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from otel_queue_plugins.cli.view.glyphs import ASCII, UNICODE, Glyphs

_WIDEST = 140


def glyphs_for(console: Console) -> Glyphs:
    """The signs that `console` can show."""
    return ASCII if console.options.ascii_only else UNICODE


def width_of(console: Console) -> int:
    """How wide a page may be: the terminal, but not wider than the eye follows."""
    return min(_WIDEST, console.width)


def fitted(text: Text, width: int, glyphs: Glyphs) -> Text:
    """`text` shortened, or filled up with blanks, to `width` cells."""
    if text.cell_len > width:
        text.truncate(max(0, width - len(glyphs.ellipsis)))
        text.append(glyphs.ellipsis)
    text.pad_right(width - text.cell_len)
    return text


def put(console: Console, line: Text) -> None:
    """Print one line, without blanks at its end."""
    line.rstrip()
    console.print(line, no_wrap=True, overflow="crop", highlight=False)
