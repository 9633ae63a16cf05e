"""What the queues were like at the last looks, and lines of signs that show it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from otel_queue_plugins.brokers.facts import QueueState

MOST: Final = 120

Values = Sequence[float | None]
"""Numbers in the order of time; None where one was not known."""


class History:
    """The last 120 depths and ages of each queue that is still there."""

    def __init__(self) -> None:
        self._depths: dict[str, deque[float | None]] = {}
        self._ages: dict[str, deque[float | None]] = {}

    def add(self, states: Sequence[QueueState]) -> None:
        """Take in what a look has found; queues that are gone are forgotten."""
        names = {state.name for state in states}
        for lines in (self._depths, self._ages):
            for gone in lines.keys() - names:
                del lines[gone]
        for state in states:
            self._depths.setdefault(state.name, deque(maxlen=MOST)).append(state.ready)
            self._ages.setdefault(state.name, deque(maxlen=MOST)).append(state.oldest_age_s)

    def depths(self, queue: str) -> Values:
        """How many were ready at each look."""
        return list(self._depths.get(queue, ()))

    def ages(self, queue: str) -> Values:
        """How old the oldest was at each look."""
        return list(self._ages.get(queue, ()))


def sparkline(values: Values, width: int, levels: str) -> str:
    """The last `width` values, each as one of `levels`, of which the first is for None.

    The highest value has the last level, 0 the one after the first.
    """
    shown = values[-width:] if width > 0 else []
    highest = max((value for value in shown if value is not None), default=0) or 1
    steps = len(levels) - 2
    line = (
        levels[0] if value is None else levels[1 + round(value / highest * steps)]
        for value in shown
    )
    return "".join(line).rjust(max(0, width))
