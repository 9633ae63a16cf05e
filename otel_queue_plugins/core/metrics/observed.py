"""What observable instruments read: one set for all who share a meter provider.

The SDK keeps the first callback of an instrument and forgets later ones, and no series may have two
writers. So what two frameworks, two brokers or a plugin that was set up anew count in one process
is counted in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otel_queue_plugins.core.api import forking
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.metrics.tally import Attributes, Tally
from otel_queue_plugins.core.metrics.templates import MAX_ROUTES, ROUTE_ATTRIBUTES, RouteTemplate
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.spans.operation import ProcessOperation

Measure = Callable[[], int]
Clock = Callable[[], int]
Running = Callable[[], Iterable[tuple[RouteTemplate, int]]]
"""Deliveries that run in other processes, each with its start in nanoseconds since the epoch."""

_Series = dict[tuple[tuple[str, Value], ...], float]


class Counts:
    """Messages counted and deliveries in flight in this process. A forked child starts afresh."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[RouteTemplate, None] = {}
        self._in_flight: dict[ProcessOperation, None] = {}
        self.sent = Tally()
        self.consumed = Tally()
        self.capacity: list[Measure] = []
        self.reserved: list[Measure] = []
        self.running: list[Running] = []
        self.hand_over: Callable[[], object] = do_nothing
        forking.call_in_children(self.reset_in_child)

    def add_in_flight(self, operation: ProcessOperation, template: RouteTemplate) -> None:
        """A delivery is in flight, until `remove_in_flight`."""
        self._in_flight[operation] = None
        if template not in self._seen:
            self._see(template)

    def remove_in_flight(self, operation: ProcessOperation) -> None:
        """A delivery is over, or somebody else's."""
        self._in_flight.pop(operation, None)

    def reset_in_child(self) -> None:
        """Forget what belongs to the process this one was forked from."""
        self.sent.reset()
        self.consumed.reset()
        self._in_flight.clear()
        self._seen.clear()
        self.capacity.clear()
        self.reserved.clear()
        self.running.clear()

    def observe_in_flight(self, _options: CallbackOptions) -> Iterable[Observation]:
        """How many deliveries are in flight, by route."""
        running = self._all_in_flight()
        counts = self._zeros()
        for template, _ in running:
            if template in self._seen:
                counts[_key(template)] += 1
        return _observations(counts)

    def observe_longest_running(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The age of the oldest delivery in flight in seconds, by route."""
        running = self._all_in_flight()
        now, ages = self._clock(), self._zeros()
        for template, started_ns in running:
            if template in self._seen:
                key, age = _key(template), (now - started_ns) / 1e9
                ages[key] = max(ages[key], age)
        return _observations(ages)

    def observe_capacity(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The slots of all workers in this process; nothing where there is none."""
        return _total(self.capacity)

    def observe_reserved(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The messages they hold without running them."""
        return _total(self.reserved)

    def _see(self, template: RouteTemplate) -> None:
        if len(self._seen) < MAX_ROUTES:
            self._seen[template] = None

    def _all_in_flight(self) -> list[tuple[RouteTemplate, int]]:
        elsewhere = _elsewhere(self.running)
        for template, _ in elsewhere:
            self._see(template)
        own = [(each.template, each.started_ns) for each in list(self._in_flight)]
        return elsewhere + [(template, at) for template, at in own if template is not None]

    def _zeros(self) -> _Series:
        keys = [_key(template) for template in list(self._seen)]
        if self.running:
            keys += map(_base, self.consumed.counted())
        return dict.fromkeys(keys, 0)


def of(provider: MeterProvider, clock: Clock) -> Counts:
    """The counts that go to `provider`."""
    known = _counts_by_provider.get(provider)
    return known or _counts_by_provider.setdefault(provider, _of_proxy(provider) or Counts(clock))


def _of_proxy(provider: MeterProvider) -> Counts | None:
    """Those of who came before `provider` was set, and uses the API's stand-in for it."""
    if provider is not metrics.get_meter_provider():
        return None
    stands_in = (other for other in list(_counts_by_provider) if is_proxy(other))
    return next((_counts_by_provider[other] for other in stands_in), None)


def is_proxy(provider: object) -> bool:
    """Whether `provider` only stands in for one that nobody has set (API, "proxy" providers)."""
    return type(provider).__name__.lstrip("_") in {"ProxyTracerProvider", "ProxyMeterProvider"}


def _key(template: RouteTemplate) -> tuple[tuple[str, Value], ...]:
    return tuple(template.base.items())


def _base(counted: Attributes) -> tuple[tuple[str, Value], ...]:
    """The key of a delivery's route, from what it was counted with."""
    return tuple((name, counted[name]) for name in ROUTE_ATTRIBUTES if name in counted)


def _observations(series: _Series) -> list[Observation]:
    return [Observation(value, dict(key)) for key, value in series.items()]


def _nobody() -> list[tuple[RouteTemplate, int]]:
    return []


@never_raises(_nobody)
def _elsewhere(running: list[Running]) -> list[tuple[RouteTemplate, int]]:
    return [each for deliveries in running for each in deliveries()]


def _unknown() -> list[Observation]:
    return []


@never_raises(_unknown)
def _total(measures: list[Measure]) -> list[Observation]:
    return [Observation(sum(measure() for measure in measures), {})] if measures else []


_counts_by_provider: Final[WeakKeyDictionary[MeterProvider, Counts]] = WeakKeyDictionary()
