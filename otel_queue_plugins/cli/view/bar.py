"""One span on the time line of its trace, as a row of signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.cli.view.glyphs import Glyphs
from otel_queue_plugins.cli.view.trace import Trace, Waiting, waiting_of

WAIT_STYLE = "yellow"
SCHEDULED_STYLE = "bright_black"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps times of a trace to the halves of `width` cells."""

    start_ns: int
    end_ns: int
    width: int

    def half(self, time_ns: int) -> int:
        """The half cell `time_ns` falls into, from 0; times outside land on the edge."""
        halves = 2 * self.width
        place = (time_ns - self.start_ns) * halves // max(1, self.end_ns - self.start_ns)
        return min(halves - 1, max(0, place))


def scale_of(trace: Trace, width: int) -> Scale:
    """The scale on which the whole of `trace` is `width` cells wide."""
    return Scale(start_ns=trace.start_ns, end_ns=trace.end_ns, width=width)


def draw(span: ReceivedSpan, scale: Scale, style: str, glyphs: Glyphs) -> Text:
    """The bar of `span` in `style`, what it waited for before it, and blanks up to the width.

    A span is never shorter than half a cell, and begins in the cell that its wait ends in.
    """
    first, last = scale.half(span.start_ns), scale.half(max(span.start_ns, span.end_ns - 1))
    before = dict(_before(waiting_of(span), scale, glyphs))
    bar = Text()
    for cell in range(scale.width):
        left = first <= 2 * cell <= last
        right = first <= 2 * cell + 1 <= last
        if left or right:
            bar.append(_run(glyphs, left=left or cell in before, right=right), style)
        else:
            bar.append(*before.get(cell, (" ", "")))
    return bar


def _run(glyphs: Glyphs, *, left: bool, right: bool) -> str:
    if left and right:
        return glyphs.run
    return glyphs.run_left if left else glyphs.run_right


def _before(
    waiting: Waiting | None, scale: Scale, glyphs: Glyphs
) -> Iterator[tuple[int, tuple[str, str]]]:
    """The cells before the start, later parts overwriting earlier ones in a shared cell."""
    if waiting is None:
        return
    parts = (
        (waiting.scheduled_ns, waiting.ready_ns, glyphs.scheduled, SCHEDULED_STYLE),
        (waiting.ready_ns, waiting.held_ns, glyphs.queued, WAIT_STYLE),
        (waiting.held_ns, waiting.start_ns, glyphs.held, WAIT_STYLE),
    )
    for since, until, sign, style in parts:
        if until > since:
            for cell in range(scale.half(since) // 2, scale.half(until) // 2 + 1):
                yield cell, (sign, style)
