"""Look at the queues once an interval, and less often while the broker does not answer."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.brokers.facts import QueueState
from otel_queue_plugins.brokers.leases import Held, Leases, Unshared
from otel_queue_plugins.brokers.opening import TIMEOUT
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.reporting.gauges import QueueGauges

LEASE_INTERVALS: Final = 1.5
"""How long a lease lasts. It is renewed once an interval, and must end within two."""
SHOWN_INTERVALS: Final = 2
MOST_SECONDS: Final = 60.0
_JITTER: Final = 0.05
_A_MOMENT: Final = 0.01

_log = logging.getLogger("otel_queue_plugins")


class Polling:
    """One reporter's looks at the broker, all of them in one thread.

    `interval` is in seconds. `queues` returns the queues to report at that moment. With `leases`
    it reports those of them that no other reporter does. `failure` is what the last look raised,
    None if it went well.
    """

    def __init__(
        self,
        open_reader: Callable[[], QueueReader],
        queues: Callable[[], Sequence[str]],
        gauges: QueueGauges,
        *,
        interval: float,
        leases: bool,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._open_reader = open_reader
        self._queues = queues
        self._gauges = gauges
        self._interval = interval
        self._is_shared = leases
        self._clock = clock
        self._jitter = jitter
        self._reader: QueueReader | None = None
        self._leases: Leases = Unshared()
        self._failures = 0
        self.failure: Exception | None = None
        self._has_explained = False

    def poll(self) -> float:
        """Look once. Returns in how many seconds to look again; never raises."""
        started = self._clock()
        try:
            wait = self._look(started)
        except Exception as error:  # noqa: BLE001 - whatever it is, it passes or is logged
            return self._failed(error)
        if self._failures:
            self._failures, self.failure = 0, None
            _log.info("otel_queue_plugins: the state of queues is reported again")
        return max(_A_MOMENT, wait - (self._clock() - started))

    def close(self) -> None:
        """Give back the leases and close the connections. Never raises."""
        self._gauges.show((), Held(), 0.0)
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(Exception):
                self._leases.close()
            reader.close()

    def _look(self, started: float) -> float:
        reader = self._opened()
        held = self._leases.hold(self._queues())
        states = reader.states(sorted(held.until))
        self._gauges.show(states, held, started, reader.aged)
        self._explain(states)
        wait = self._interval * self._jitter(1 - _JITTER, 1 + _JITTER)
        if held.next_end is None:
            return wait
        # A lease that is not renewed is taken when it ends, not up to an interval later.
        return min(wait, held.next_end + self._interval * self._jitter(0, _JITTER))

    def _opened(self) -> QueueReader:
        if self._reader is None:
            self._reader = self._open_reader()
            if self._is_shared:
                owner = uuid.uuid4().hex
                lifetime = self._interval * LEASE_INTERVALS
                self._leases = self._reader.leases(owner, lifetime, TIMEOUT)
        return self._reader

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        self.failure = error
        if self._failures == 1:
            _log.warning(
                "otel_queue_plugins: the state of queues is not reported: %s", text_of(error)
            )
            _log.debug("The failure:", exc_info=error)
        wait = min(MOST_SECONDS, self._interval * 2.0 ** min(self._failures - 1, 10))
        return max(wait, self._interval) * self._jitter(1 - _JITTER, 1 + _JITTER)

    def _explain(self, states: Sequence[QueueState]) -> None:
        """Say once why nothing is reported on a broker that cannot be looked at."""
        if self._has_explained or not states:
            return
        self._has_explained = True
        if all(state.ready is None and state.unacked is None for state in states):
            reason = next(iter(states[0].unknown.values()), "")
            _log.info("otel_queue_plugins: the state of queues is not known: %s", reason)


def text_of(error: Exception) -> str:
    """What went wrong, in one line without secrets."""
    is_plain = isinstance(error, (BrokerError, RefusedError))
    return without_secrets(str(error) if is_plain else repr(error))
