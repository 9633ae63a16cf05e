"""Medians, spreads and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

PARTS = ("send", "execute", "total")


class Figure(NamedTuple):
    """A median and the quartiles it lies between."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.0f} ({self.low:.0f}..{self.high:.0f})"


def figure(values: Sequence[float]) -> Figure:
    """Median and quartiles; the extremes instead of quartiles below four values."""
    ordered = sorted(values)
    edge = len(ordered) // 4
    return Figure(median(ordered), ordered[edge], ordered[-1 - edge])


class Added(NamedTuple):
    """What one variant adds to a message, over the plain framework of the same round."""

    send: Figure
    execute: Figure
    total: Figure


def added(rounds: Iterable[tuple[dict[str, float], dict[str, float]]]) -> Added:
    """`rounds` are pairs (variant, plain) that were measured next to each other."""
    pairs = list(rounds)
    return Added(
        *(figure([measured[part] - plain[part] for measured, plain in pairs]) for part in PARTS)
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns under `header`, the first to the left and the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def render(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        return "  ".join(cells).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([render(lines[0]), rule, *map(render, lines[1:])])
