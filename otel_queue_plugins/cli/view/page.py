"""Everything about a run on one page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from otel_queue_plugins.cli.received import ReceivedPoint
from otel_queue_plugins.cli.view import metric_table, tree
from otel_queue_plugins.cli.view.bar import SCHEDULED_STYLE, WAIT_STYLE
from otel_queue_plugins.cli.view.glyphs import Glyphs
from otel_queue_plugins.cli.view.line import glyphs_for, put, width_of
from otel_queue_plugins.cli.view.metrics import summaries
from otel_queue_plugins.cli.view.trace import Trace

_QUIET = "bright_black"


def print_traces(
    console: Console,
    traces: Sequence[Trace],
    titles: Mapping[str, str],
    *,
    links: Mapping[str, str] | None = None,
    has_legend: bool = True,
) -> None:
    """Print each trace as a tree with a time line. `titles` and `links` are by trace id."""
    if not traces:
        return
    glyphs = glyphs_for(console)
    columns = tree.columns_for(traces, width_of(console))
    for trace in traces:
        console.print()
        link = (links or {}).get(trace.trace_id, "")
        for line in trace_lines(trace, titles.get(trace.trace_id, ""), columns, glyphs, link=link):
            put(console, line)
    if has_legend:
        console.print()
        console.print(_legend(glyphs), highlight=False)


def trace_lines(
    trace: Trace, title: str, columns: tree.Columns, glyphs: Glyphs, *, link: str = ""
) -> Iterator[Text]:
    """A trace as a tree with a time line, under a title."""
    yield _title(title, trace, columns.total, link)
    yield tree.captions(trace, columns)
    yield from tree.lines(trace, columns, glyphs)


def print_metrics(console: Console, points: Iterable[ReceivedPoint]) -> None:
    """Print what the instruments of this package measured."""
    found = summaries(points)
    if not found:
        return
    console.print()
    for line in metric_table.lines(found, width_of(console), glyphs_for(console)):
        put(console, line)


def _title(title: str, trace: Trace, width: int, link: str) -> Text:
    line = Text(title, "bold")
    identity = f"trace {trace.trace_id}"
    line.append(" " * (width - line.cell_len - len(identity)))
    line.append(identity, f"not bold {_QUIET}" + f" link {link}" * bool(link))
    return line


def _legend(glyphs: Glyphs) -> Text:
    entries = []
    for sign, style, meaning in (
        (glyphs.run * 2, "green", "running"),
        (glyphs.queued * 2, WAIT_STYLE, "waits in queue"),
        (glyphs.held * 2, WAIT_STYLE, "waits in worker"),
        (glyphs.scheduled * 2, SCHEDULED_STYLE, "not due"),
        ("#2", "bold", "2nd attempt"),
    ):
        entries.append(Text.assemble((sign, style), (f" {meaning}", _QUIET)))
    return Text("  ").join(entries)
