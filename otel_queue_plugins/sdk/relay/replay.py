"""What processes of a worker have handed over, taken as if it had been recorded here."""

from __future__ import annotations

import logging
import marshal
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.sdk.relay import measured, writing
from otel_queue_plugins.sdk.relay.instruments import real_instrument
from otel_queue_plugins.sdk.relay.measured import Instrument
from otel_queue_plugins.sdk.relay.shapes import Places
from otel_queue_plugins.sdk.relay.tables import Gathered, Table

if TYPE_CHECKING:
    from otel_queue_plugins.core.metrics.observed import Counts
    from otel_queue_plugins.sdk.relay.parts import Source
    from otel_queue_plugins.sdk.relay.shapes import Packed
    from otel_queue_plugins.sdk.relay.writing import Write

logger = logging.getLogger("otel_queue_plugins")

_MOST_SERIES: Final = 4096
_MOST_BYTES: Final = 1 << 17
_MOST_AT_ONCE: Final = 4096


class Replay:
    """Records measurements of other processes with instruments of this one.

    Not at once: to record a hundred values of a series costs little more than to record one.
    """

    def __init__(self, provider: Any, counts: Counts) -> None:
        self._provider = provider
        self._writes: dict[Instrument, Write] = {}
        self._gathered: dict[tuple[Instrument, bytes], Gathered] = {}
        self._tables: dict[Source, Table] = {}
        self._tallies = {measured.SENT: counts.sent, measured.CONSUMED: counts.consumed}
        self._due: list[Gathered] = []
        self._waiting = 0
        self._now_ns = 0

    def sources(self) -> list[Source]:
        """The processes that have measured something."""
        return list(self._tables)

    def forget(self, source: Source) -> None:
        """Nothing of that process will come any more; what has come is kept."""
        table = self._tables.pop(source, None)
        if table is not None:
            table.spread()

    def set_clock(self) -> None:
        """What is taken from now on was measured now.

        No two messages have one time: the last value of a gauge is the one that counts.
        """
        self._now_ns = max(time.time_ns(), self._now_ns)

    def take(
        self,
        source: Source,
        defined: Iterable[tuple[int, Any, Mapping[str, Any] | None]] | None,
        packed: Packed | None,
        repeated: Iterable[tuple[int, float, int]] | None,
    ) -> None:
        """Keep what an `Outbox` has packed until `settle`, at most about 128 KiB."""
        table = self._tables.get(source)
        if table is None:
            table = self._tables[source] = Table(self._due)
        if defined:
            for number, about, attributes in defined:
                table.define(number, self._gather(about, attributes))
        if packed is not None:
            self._now_ns += 1
            table.add(packed, self._now_ns)
            self._waiting += len(packed[1])
        for number, value, count in repeated or ():
            self._repeat(table.get(number), value, count)
        if self._waiting >= _MOST_BYTES:
            self.settle()

    def settle(self) -> None:
        """Record all that was taken. For who reads metrics next."""
        self._waiting = 0
        for table in self._tables.values():
            table.spread()
        for gathered in self._due:
            gathered.settle()
        self._due.clear()

    def _repeat(self, gathered: Gathered | None, value: float, count: int) -> None:
        while gathered is not None and count > 0:
            some = min(count, _MOST_AT_ONCE)
            gathered.values.add([value] * some, Places(b"", 0, -1, [self._now_ns] * some))
            gathered.settle()
            count -= some

    def _gather(self, about: Any, attributes: Mapping[str, Any] | None) -> Gathered:
        """Where measurements of one series go; the same for all processes.

        As for the SDK, attributes in another order are the same ones.
        """
        instrument = Instrument(*about)
        key = (instrument, marshal.dumps(measured.in_order(attributes), 2))
        found = self._gathered.get(key)
        if found is None:
            if len(self._gathered) >= _MOST_SERIES:
                self._gathered.clear()
            found = self._gathered[key] = self._new(instrument, attributes or {})
        return found

    def _new(self, instrument: Instrument, attributes: Any) -> Gathered:
        tally = self._tallies.get(instrument.kind)
        if tally is not None:
            return Gathered(writing.into_tally(tally), tally.remote_cell(attributes))
        write = self._writes.get(instrument)
        if write is None:
            write = self._writes[instrument] = self._writer(instrument)
        return Gathered(write, attributes)

    def _writer(self, instrument: Instrument) -> Write:
        """One that records nothing for an instrument that the SDK refuses."""
        try:
            return writing.of(real_instrument(self._provider, instrument), instrument.kind)
        except Exception as error:  # noqa: BLE001 - whatever a user's process has asked for
            logger.warning("%s cannot be measured: %s", instrument.name, error)
            return writing.nowhere
