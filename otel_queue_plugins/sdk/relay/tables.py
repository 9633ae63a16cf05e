"""What the numbers of one process stand for, and what it has measured and nobody has recorded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.sdk.relay import shapes
from otel_queue_plugins.sdk.relay.measured import MOST_SERIES
from otel_queue_plugins.sdk.relay.writing import Values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_queue_plugins.sdk.relay.shapes import Packed, Places
    from otel_queue_plugins.sdk.relay.writing import Write

logger = logging.getLogger("otel_queue_plugins")

_MOST_SHAPES: Final = 256


class Gathered:
    """Measurements of one series, whichever process made them, until they are recorded here."""

    __slots__ = ("attributes", "is_due", "values", "write")

    def __init__(self, write: Write, attributes: Any) -> None:
        self.write = write
        self.attributes = attributes
        self.values = Values()
        self.is_due = False

    def settle(self) -> None:
        """Record them, if there are any."""
        values, self.values, self.is_due = self.values, Values(), False
        if not values.all:
            return
        try:
            self.write(self.attributes, values)
        except Exception:
            logger.exception("what other processes have measured could not be recorded")


class Table:
    """That of one process. What has values after `spread` is added to `due`."""

    def __init__(self, due: list[Gathered]) -> None:
        self._due = due
        self._series: dict[int, Gathered] = {}
        self._rows: dict[bytes, tuple[list[bytes], list[int]]] = {}

    def define(self, number: int, gathered: Gathered) -> None:
        """What `number` stands for from now on. Numbers grow, and only the last 4,096 are used."""
        if len(self._series) >= 2 * MOST_SERIES:
            self.spread()
            for old in sorted(self._series)[:-MOST_SERIES]:
                del self._series[old]
        self._series[number] = gathered

    def get(self, number: int) -> Gathered | None:
        """None for one that was never defined: that message was lost with its process."""
        return self._series.get(number)

    def add(self, packed: Packed, at_ns: int) -> None:
        """Keep what came at that time."""
        shape, row = packed
        found = self._rows.get(shape)
        if found is None:
            found = self._new_rows(shape)
        found[0].append(row)
        found[1].append(at_ns)

    def spread(self) -> None:
        """Give each series what was measured of it."""
        for shape, (rows, times) in self._rows.items():
            if rows:
                for number, values, places in shapes.columns(shape, rows, times.copy()):
                    self._give(number, values, places)
                rows.clear()
                times.clear()

    def _give(self, number: int, values: Sequence[float], places: Places) -> None:
        gathered = self._series.get(number)
        if gathered is not None:
            if not gathered.is_due:
                gathered.is_due = True
                self._due.append(gathered)
            gathered.values.add(values, places)

    def _new_rows(self, shape: bytes) -> tuple[list[bytes], list[int]]:
        if len(self._rows) >= _MOST_SHAPES:
            self.spread()
            self._rows.clear()
        return self._rows.setdefault(shape, ([], []))
