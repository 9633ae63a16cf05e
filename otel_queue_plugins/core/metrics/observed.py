"""The values of observable instruments, shared by all plugins on one meter provider.

The SDK keeps only the first callback of an instrument, and a series must have one writer. So two
frameworks, two brokers, or a plugin that was set up again, count in one place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otel_queue_plugins.core.api import forking
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.metrics.tally import MAX_SERIES, Attributes, Tally
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.route_templates import (
    MAX_ROUTES,
    ROUTE_ATTRIBUTES,
    RouteTemplate,
    queue_attributes,
)
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.semconv import METRIC_OVERFLOW

Measure = Callable[[], int]
Consuming = Callable[[], Iterable[tuple[str, str]]]
"""The queues that a worker consumes now: `messaging.system` and name of each."""
Clock = Callable[[], int]
Running = Callable[[], Iterable[tuple[RouteTemplate, int]]]
"""Deliveries that run in other processes, each with its start in nanoseconds since the epoch."""

_Series = dict[tuple[tuple[str, Value], ...], float]


class Counts:
    """The messages counted and the deliveries in flight in this process, not in its parent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shown: dict[RouteTemplate, None] = {}
        self._in_flight: dict[ProcessOperation, None] = {}
        self.sent = Tally()
        self.consumed = Tally()
        self.capacity: list[Measure] = []
        self.reserved: list[Measure] = []
        self.scheduled: list[Measure] = []
        self.consuming: list[Consuming] = []
        self.running: list[Running] = []
        self.hand_over: Callable[[], object] = do_nothing
        forking.call_in_children(self.reset_in_child)

    def add_in_flight(self, operation: ProcessOperation, template: RouteTemplate) -> None:
        """Show a delivery in the gauges, until `remove_in_flight`."""
        self._in_flight[operation] = None
        if template not in self._shown:
            self._show(template)

    def remove_in_flight(self, operation: ProcessOperation) -> None:
        """Stop showing a delivery that has ended, or that another process records."""
        self._in_flight.pop(operation, None)

    def reset_in_child(self) -> None:
        """Reset everything in a forked child, where it would be the parent's."""
        self.sent.reset()
        self.consumed.reset()
        self._in_flight.clear()
        self._shown.clear()
        self.capacity.clear()
        self.reserved.clear()
        self.scheduled.clear()
        self.consuming.clear()
        self.running.clear()

    def observe_in_flight(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The number of deliveries in flight, by route."""
        running = self._all_in_flight()
        counts = self._zeros()
        for template, _ in running:
            if template in self._shown:
                counts[_key(template)] += 1
        return _observations(counts, sum)

    def observe_longest_running(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The age of the oldest delivery in flight in seconds, by route."""
        running = self._all_in_flight()
        now, ages = self._clock(), self._zeros()
        for template, started_ns in running:
            if template in self._shown:
                key, age = _key(template), (now - started_ns) / 1e9
                ages[key] = max(ages[key], age)
        return _observations(ages, max)

    def observe_capacity(self, _options: CallbackOptions) -> Iterable[Observation]:
        """How many tasks the workers of this process can run at once; no point without a worker."""
        return _total(self.capacity)

    def observe_reserved(self, _options: CallbackOptions) -> Iterable[Observation]:
        """How many messages the workers of this process hold without running them."""
        return _total(self.reserved)

    def observe_scheduled(self, _options: CallbackOptions) -> Iterable[Observation]:
        """How many messages the workers of this process hold that are not due yet."""
        return _total(self.scheduled)

    def observe_consumers(self, _options: CallbackOptions) -> Iterable[Observation]:
        """The number of workers of this process that consume each queue."""
        return _consumers(self.consuming)

    def _show(self, template: RouteTemplate) -> None:
        if len(self._shown) < MAX_ROUTES:
            self._shown[template] = None

    def _all_in_flight(self) -> list[tuple[RouteTemplate, int]]:
        reported = _reported(self.running)
        for template, _ in reported:
            self._show(template)
        own = [(each.template, each.started_ns) for each in list(self._in_flight)]
        return reported + [(template, at) for template, at in own if template is not None]

    def _zeros(self) -> _Series:
        keys = [_key(template) for template in list(self._shown)]
        if self.running:
            keys += map(_route_key, self.consumed.counted())
        return dict.fromkeys(keys, 0)


def counts_of(provider: MeterProvider, clock: Clock) -> Counts:
    """The counts that `provider` collects."""
    counts = _counts_by_provider.get(provider)
    return counts or _counts_by_provider.setdefault(provider, _of_proxy(provider) or Counts(clock))


def _of_proxy(provider: MeterProvider) -> Counts | None:
    """The counts of plugins that began with the API's proxy, before `provider` was set."""
    if provider is not metrics.get_meter_provider():
        return None
    proxies = (other for other in list(_counts_by_provider) if is_proxy(other))
    return next((_counts_by_provider[proxy] for proxy in proxies), None)


def is_proxy(provider: object) -> bool:
    """Whether `provider` is the API's proxy for a provider that is not set yet."""
    return type(provider).__name__.lstrip("_") in {"ProxyTracerProvider", "ProxyMeterProvider"}


def _key(template: RouteTemplate) -> tuple[tuple[str, Value], ...]:
    return tuple(template.metric_attributes.items())


def _route_key(counted: Attributes) -> tuple[tuple[str, Value], ...]:
    """The key of the route, from the attributes that a delivery was counted with."""
    return tuple((name, counted[name]) for name in ROUTE_ATTRIBUTES if name in counted)


def _observations(
    series: _Series, together: Callable[[Iterable[float]], float]
) -> list[Observation]:
    """At most 2,000 series, as in `Tally`; `together` makes one value of all others."""
    found = [Observation(value, dict(key)) for key, value in islice(series.items(), MAX_SERIES)]
    if len(series) > MAX_SERIES:
        rest = together(islice(series.values(), MAX_SERIES, None))
        found.append(Observation(rest, {METRIC_OVERFLOW: True}))
    return found


def _no_deliveries() -> list[tuple[RouteTemplate, int]]:
    return []


@never_raises(_no_deliveries)
def _reported(running: list[Running]) -> list[tuple[RouteTemplate, int]]:
    return [each for deliveries in running for each in deliveries()]


def _no_observations() -> list[Observation]:
    return []


@never_raises(_no_observations)
def _total(measures: list[Measure]) -> list[Observation]:
    return [Observation(sum(measure() for measure in measures), {})] if measures else []


@never_raises(_no_observations)
def _consumers(consuming: list[Consuming]) -> list[Observation]:
    queues = Counter(queue for consumed in consuming for queue in consumed())
    return [
        Observation(number, queue_attributes(system, name))
        for (system, name), number in queues.items()
    ]


_counts_by_provider: Final[WeakKeyDictionary[MeterProvider, Counts]] = WeakKeyDictionary()
