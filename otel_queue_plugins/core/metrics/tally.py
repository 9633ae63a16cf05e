"""Counts that cost a quarter of a microsecond: plain integers, read when metrics are collected."""

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
"""Whether another process counts these, once, for this one."""


class Cell:
    """One series: its attributes and how often it was counted."""

    __slots__ = ("attributes", "count")

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.count = 0


class Tally:
    """Counts by attribute set. At most 2,000 sets, then one for all others together.

    The bound and the overflow series are those of the metrics SDK specification, "Cardinality
    limits".
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[frozenset[tuple[str, Value]], Cell] = {}
        self._overflow = Cell({METRIC_OVERFLOW: True})
        self.count_remotely: CountRemotely | None = None

    def cell(self, attributes: Attributes) -> Cell:
        """The series of `attributes`; keep it to count again."""
        key = frozenset(attributes.items())
        with self._lock:
            if key not in self._cells and len(self._cells) >= MAX_SERIES:
                return self._overflow
            return self._cells.setdefault(key, Cell(attributes))

    def add(self, cell: Cell, span_id: int | None = None) -> None:
        """Count one more: here, or in the process that counts for this one.

        That process also knows what ended by `span_id`, if it has chosen one.
        """
        if self.count_remotely is None or not self.count_remotely(cell.attributes, span_id):
            with self._lock:
                cell.count += 1

    def remote_cell(self, attributes: Attributes) -> Cell:
        """The series of attributes that another process has counted with."""
        return self._overflow if METRIC_OVERFLOW in attributes else self.cell(attributes)

    def add_many(self, cell: Cell, number: int) -> None:
        """Count what another process has."""
        with self._lock:
            cell.count += number

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """What a metric reader sees."""
        return list(self._observations())

    def counted(self) -> list[Attributes]:
        """The attribute sets that were counted at least once."""
        return [cell.attributes for cell in list(self._cells.values()) if cell.count]

    def reset(self) -> None:
        """Start from zero, as a forked child must."""
        self._lock = threading.Lock()
        for cell in self._all():
            cell.count = 0

    def _all(self) -> list[Cell]:
        return [*self._cells.values(), self._overflow]

    def _observations(self) -> Iterator[Observation]:
        for cell in self._all():
            if cell.count:
                yield Observation(cell.count, cell.attributes)
