"""The metrics of a run as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from otel_queue_plugins.cli.received import ReceivedHistogram
from otel_queue_plugins.cli.view.glyphs import Glyphs
from otel_queue_plugins.cli.view.line import fitted
from otel_queue_plugins.cli.view.metrics import Summary
from otel_queue_plugins.cli.view.quantity import bound, count, duration

_QUIET = "bright_black"


def lines(summaries: Sequence[Summary], width: int, glyphs: Glyphs) -> Iterator[Text]:
    """A line for each instrument: its total or mean, and how that divides."""
    values = [_value(summary) for summary in summaries]
    name_width = max(len(summary.name) for summary in summaries)
    value_width = max(len("value"), *(len(value) for value in values))
    detail_width = width - name_width - value_width - 4
    yield Text(f"{'metric':{name_width}}  {'value':>{value_width}}", _QUIET)
    for summary, value in zip(summaries, values, strict=True):
        name = Text(f"{summary.name:{name_width}}")
        detail = fitted(_detail(summary, glyphs), detail_width, glyphs)
        yield Text("  ").join([name, Text(f"{value:>{value_width}}", "bold"), detail])


def _value(summary: Summary) -> str:
    if summary.histogram:
        return f"avg {duration(summary.histogram.sum / max(1, summary.histogram.count))}"
    value = summary.value or 0
    return duration(value) if summary.unit == "s" else count(value)


def _detail(summary: Summary, glyphs: Glyphs) -> Text:
    if summary.histogram:
        return _distribution(summary.histogram, glyphs)
    if summary.kind == "gauge":
        return Text("")
    parts = (f"{name} {count(value)}" for name, value in summary.parts.items())
    return Text(glyphs.between.join(parts), _QUIET)


def _distribution(histogram: ReceivedHistogram, glyphs: Glyphs) -> Text:
    """The buckets from the first to the last that holds something, with their outer limits."""
    text = Text(f"{count(histogram.count)} {glyphs.times}  ", _QUIET)
    filled = [place for place, number in enumerate(histogram.bucket_counts) if number]
    if not filled or not histogram.bounds:
        return text
    limits = (0.0, *histogram.bounds)
    shown = histogram.bucket_counts[filled[0] : filled[-1] + 1]
    text.append(f"{bound(limits[filled[0]])} ")
    text.append("".join(_level(number, max(shown), glyphs) for number in shown), "cyan")
    if filled[-1] + 1 < len(limits):
        text.append(f" {bound(limits[filled[-1] + 1])}")
    return text


def _level(number: int, most: int, glyphs: Glyphs) -> str:
    """The lowest sign stands for none."""
    steps = len(glyphs.levels) - 1
    return glyphs.levels[-(-number * steps // most)]
