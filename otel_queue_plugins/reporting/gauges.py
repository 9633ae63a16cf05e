"""The gauges of queues. They show the last values, and nothing when those are old."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otel_queue_plugins.brokers.facts import STATES, QueueState, State
from otel_queue_plugins.brokers.leases import Held
from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.route_templates import queue_attributes
from otel_queue_plugins.version import VERSION

_AGES: Final[dict[State, str]] = {"ready": "oldest_age_s", "unacked": "oldest_unacked_age_s"}


class QueueGauges:
    """What the last look at the broker has shown. Any thread may read it, at no cost.

    `lifetime` is for how many seconds it is shown: what is older looks like a healthy queue whose
    depth does not change.
    """

    def __init__(self, lifetime: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._aged: tuple[State, ...] = ()
        self._shown: tuple[Sequence[QueueState], Held, float] = ((), Held(), 0.0)

    def show(
        self,
        states: Sequence[QueueState],
        held: Held,
        looked_at: float,
        aged: tuple[State, ...] = STATES,
    ) -> None:
        """Show `states`, each for as long as its lease is held.

        `aged` are the states with an age. Where none can be known, an age of 0 that vanishes as
        soon as there is a message would look like a healthy queue.
        """
        self._aged = aged
        self._shown = (states, held, looked_at + self._lifetime)

    def register(self, provider: MeterProvider) -> None:
        """Create the instruments."""
        meter = provider.get_meter(semconv.SCOPE, VERSION, schema_url=semconv.SCHEMA_URL)
        for name, observe, unit, description in (
            (semconv.QUEUE_DEPTH, self.observe_depth, "{message}", "Messages, by state"),
            (semconv.QUEUE_OLDEST_AGE, self.observe_ages, "s", "Age of the oldest message"),
            (
                semconv.QUEUE_ABANDONED,
                self.observe_abandoned,
                "{message}",
                "Messages held by workers that are gone",
            ),
        ):
            meter.create_observable_gauge(name, [observe], unit, description)

    def observe_depth(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The number of messages in each state that the broker can tell."""
        return [
            _observation(queue, getattr(queue, state), state)
            for queue in self.current()
            for state in STATES
            if getattr(queue, state) is not None
        ]

    def observe_ages(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The age of the oldest message (s), 0 where there is none."""
        return [
            _observation(queue, getattr(queue, field), state)
            for queue in self.current()
            for state, field in _AGES.items()
            if state in self._aged and getattr(queue, field) is not None
        ]

    def observe_abandoned(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The number of messages that workers hold which are gone."""
        return [
            _observation(queue, queue.abandoned)
            for queue in self.current()
            if queue.abandoned is not None
        ]

    def has_values(self) -> bool:
        """Whether there is anything to show now."""
        return any(True for _ in self.current())

    def current(self) -> Iterator[QueueState]:
        """The queues that are shown now."""
        states, held, until = self._shown
        now = self._clock()
        if now < until:
            yield from (state for state in states if held.has(state.name, now))


def _observation(queue: QueueState, value: float, state: str | None = None) -> Observation:
    attributes = queue_attributes(queue.system, queue.name)
    if state is not None:
        attributes[semconv.QUEUE_STATE] = state
    return Observation(value, attributes)
