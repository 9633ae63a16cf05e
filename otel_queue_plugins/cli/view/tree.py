"""A trace as lines of text: the tree of its spans beside a time line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from otel_queue_plugins.cli.view import outcomes
from otel_queue_plugins.cli.view.bar import Scale, draw, scale_of
from otel_queue_plugins.cli.view.glyphs import Glyphs
from otel_queue_plugins.cli.view.line import fitted
from otel_queue_plugins.cli.view.notes import label, notes_of
from otel_queue_plugins.cli.view.quantity import duration
from otel_queue_plugins.cli.view.trace import Row, Trace
from otel_queue_plugins.core import semconv

_NUMBER = 7
_LEAST_BAR = 10
_LEAST_SPAN = 16
_MOST_SERVICE = 14
_QUIET = "bright_black"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Widths in cells; one space is between two columns."""

    service: int
    span: int
    bar: int
    outcome: int
    total: int


def columns_for(traces: Sequence[Trace], width: int) -> Columns:
    """The widths that fit all of `traces` into `width` cells; the bar gets what is left over."""
    rows = [row for trace in traces for row in trace.rows]
    service = min(_MOST_SERVICE, max(len("service"), *(len(row.span.service) for row in rows)))
    outcome = max(len("outcome"), *(len(outcomes.word(row.span)) for row in rows))
    wanted = max(2 * len(row.branches) + len(label(row.span)) for row in rows)
    free = width - service - outcome - 2 * _NUMBER - 5
    span = max(_LEAST_SPAN, min(wanted, free - _LEAST_BAR))
    bar = max(_LEAST_BAR, free - span)
    return Columns(service=service, span=span, bar=bar, outcome=outcome, total=width)


def captions(trace: Trace, columns: Columns) -> Text:
    """The line over the rows: names of the columns, and the ends of the time line."""
    end = duration(trace.duration_s)
    line = _columns(
        service=Text(f"{'service':{columns.service}}"),
        span=Text(f"{'span':{columns.span}}"),
        time="time",
        wait="wait",
        bar=Text("0" + end.rjust(columns.bar - 1)),
        outcome=Text("outcome"),
    )
    line.stylize(_QUIET)
    return line


def lines(trace: Trace, columns: Columns, glyphs: Glyphs) -> Iterator[Text]:
    """A line for each span of `trace`, each followed by its notes."""
    scale = scale_of(trace, columns.bar)
    spans = {row.span.span_id: row.span for row in trace.rows}
    for row in trace.rows:
        yield _row(row, scale, columns, glyphs)
        for note in notes_of(row.span, spans, glyphs):
            yield _note(row, note, columns, glyphs)


def _row(row: Row, scale: Scale, columns: Columns, glyphs: Glyphs) -> Text:
    span, style = row.span, outcomes.style(row.span)
    wait = span.attributes.get(semconv.TASK_WAIT)
    name = Text.assemble(
        (_guides(row.branches, glyphs), _QUIET),
        (label(span), "bold" if span.kind == "consumer" else ""),
    )
    return _columns(
        service=fitted(Text(span.service), columns.service, glyphs),
        span=fitted(name, columns.span, glyphs),
        time=duration(span.duration_s),
        wait="" if wait is None else duration(wait),
        bar=draw(span, scale, style, glyphs),
        outcome=Text(outcomes.word(span), style),
    )


def _note(row: Row, note: str, columns: Columns, glyphs: Glyphs) -> Text:
    below = "".join(_passing(row.branches, glyphs))
    inset = glyphs.passing if row.has_children else "  "
    text = Text.assemble(
        (" " * (columns.service + 1) + below + inset, _QUIET),
        (note[:1], outcomes.style(row.span)),
        (note[1:], _QUIET),
    )
    return fitted(text, columns.total, glyphs)


def _guides(branches: Sequence[bool], glyphs: Glyphs) -> str:
    if not branches:
        return ""
    own = glyphs.last_child if branches[-1] else glyphs.child
    return "".join(_passing(branches[:-1], glyphs)) + own


def _passing(branches: Iterable[bool], glyphs: Glyphs) -> Iterator[str]:
    return ("  " if is_last else glyphs.passing for is_last in branches)


def _columns(*, service: Text, span: Text, time: str, wait: str, bar: Text, outcome: Text) -> Text:
    numbers = Text(f"{time:>{_NUMBER}} {wait:>{_NUMBER}}")
    return Text(" ", no_wrap=True, end="").join([service, span, numbers, bar, outcome])
