"""Horizontal bars as SVG, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

_WIDTH = 760
_LABELS = 330  # what is left of the bars
_VALUES = 60  # what is right of the longest one
_ROW = 24
_TITLE = "Instructions that tracing adds to a message that is sent and run, in thousands"
_FONT = 'font-family="system-ui, sans-serif" font-size="13" fill="#1f2328"'
_OURS, _OTHERS = "#2f6fde", "#a9b1bd"


class Bar(NamedTuple):
    """One bar; `ours` decides its colour."""

    label: str
    value: float
    ours: bool


def drawn(groups: Mapping[str, Sequence[Bar]]) -> str:
    """The picture: each group of bars under its name, all on one scale that begins with zero."""
    scale = max(bar.value for bars in groups.values() for bar in bars)
    height = _ROW * (sum(len(bars) + 1 for bars in groups.values()) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
        f"<title>{_TITLE}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        _text(16, 0, _TITLE),
        *_rows(groups, scale),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _rows(groups: Mapping[str, Sequence[Bar]], scale: float) -> Iterator[str]:
    row = 1
    for name, bars in groups.items():
        yield _text(16, row, name, 'font-weight="600"')
        row += 1
        for bar in bars:
            length = (_WIDTH - _LABELS - _VALUES) * bar.value / scale
            colour = _OURS if bar.ours else _OTHERS
            yield _text(_LABELS - 10, row, bar.label, 'text-anchor="end"')
            yield (
                f'<rect x="{_LABELS}" y="{row * _ROW + 6}" width="{length:.1f}" height="16" '
                f'fill="{colour}"/>'
            )
            yield _text(_LABELS + length + 6, row, f"{bar.value:,.0f}")
            row += 1


def _text(x: float, row: int, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{row * _ROW + 19}" {attributes}>{escape(text)}</text>'
