"""A trace as a tree that fits into the room there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console, ConsoleOptions
from rich.text import Text

from otel_queue_plugins.cli.queues.failures import printable
from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.cli.view import page, tree
from otel_queue_plugins.cli.view.glyphs import Glyphs
from otel_queue_plugins.cli.view.trace import traces

MOST_SPANS: Final = 500


class TraceTree:
    """What rich draws: the first spans of a trace."""

    def __init__(self, spans: Sequence[ReceivedSpan], glyphs: Glyphs) -> None:
        found = traces(_printable(span) for span in spans)
        self._traces = [replace(each, rows=each.rows[:MOST_SPANS]) for each in found]
        self._glyphs = glyphs

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[Text]:
        columns = tree.columns_for(self._traces, options.max_width)
        for trace in self._traces:
            for line in page.trace_lines(trace, trace.root.name, columns, self._glyphs):
                line.plain = printable(line.plain)
                line.rstrip()
                line.no_wrap, line.overflow, line.end = True, "crop", "\n"
                yield line


def _printable(span: ReceivedSpan) -> ReceivedSpan:
    return replace(span, name=printable(span.name), service=printable(span.service))
