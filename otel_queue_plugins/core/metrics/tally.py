"""Counters that are plain integers, read when metrics are collected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from opentelemetry.metrics import CallbackOptions, Observation

from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.semconv import METRIC_OVERFLOW

MAX_SERIES: Final = 2000

Attributes = Mapping[str, Value]
CountRemotely = Callable[[Attributes, int | None], bool]
"""Asks another process to count one message for this one; False if it does not."""


class Cell:
    """One series: its attributes and how often it was counted."""

    __slots__ = ("attributes", "count")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.count = 0


class Tally:
    """Counts by attribute set: at most 2,000 sets, then one for all others together.

    The bound and the overflow series are those of the metrics SDK specification, "Cardinality
    limits".
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[frozenset[tuple[str, Value]], Cell] = {}
        self._overflow = Cell({METRIC_OVERFLOW: True})
        self.count_remotely: CountRemotely | None = None

    def cell(self, attributes: Attributes) -> Cell:
        """The series of `attributes`; keep it to count again without the look-up."""
        key = frozenset(attributes.items())
        with self._lock:
            if key not in self._cells and len(self._cells) >= MAX_SERIES:
                return self._overflow
            return self._cells.setdefault(key, Cell(attributes))

    def add(self, cell: Cell, span_id: int | None = None) -> None:
        """Count one message, in this process or in the one that counts for it.

        `span_id` is the id that the other process has chosen for the delivery, if any.
        """
        if self.count_remotely is None or not self.count_remotely(cell.attributes, span_id):
            with self._lock:
                cell.count += 1

    def remote_cell(self, attributes: Attributes) -> Cell:
        """The series of attributes that come from another process."""
        return self._overflow if METRIC_OVERFLOW in attributes else self.cell(attributes)

    def add_many(self, cell: Cell, number: int) -> None:
        """Add what another process has counted."""
        with self._lock:
            cell.count += number

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The callback of the observable counter."""
        return list(self._observations())

    def counted(self) -> list[Attributes]:
        """The attribute sets that were counted at least once."""
        return [cell.attributes for cell in list(self._cells.values()) if cell.count]

    def reset(self) -> None:
        """Set all counts to zero, in a forked child."""
        self._lock = threading.Lock()
        for cell in self._all():
            cell.count = 0

    def _all(self) -> list[Cell]:
        return [*self._cells.values(), self._overflow]

    def _observations(self) -> Iterator[Observation]:
        for cell in self._all():
            if cell.count:
                yield Observation(cell.count, cell.attributes)
