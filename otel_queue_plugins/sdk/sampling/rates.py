"""So many new traces a second: a probability for each route, set anew every ten seconds.

What is rare is kept whole. The rest is shared in proportion to the square root of what each route
has: the frequent ones have more traces, of which a smaller share is kept. There is no thread for
it: the decision that finds the ten seconds over sets the probabilities of the next ones.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Final

from otel_queue_plugins.core.api import forking
from otel_queue_plugins.sdk.sampling import thresholds

Key = tuple[str | None, str | None]
"""A route: task and queue; None for what is no message."""
Clock = Callable[[], float]
"""Returns seconds, from any moment on."""

MAX_ROUTES: Final = 2048
WINDOW_SECONDS: Final = 10.0
# Rates are not taken from less time than that, and not without smoothing from fewer traces.
_SHORTEST_SECONDS: Final = 1.0
_FEW: Final = 10
_SLOWEST: Final = 0.1 / WINDOW_SECONDS  # a route with fewer traces a second is forgotten
_MORE_WHILE_FAILING: Final = 4.0
_FEW_FAILURES: Final = 3
# Of the budget: how much it is corrected after a window, and how far at most.
_CORRECTION: Final = 0.1
_MOST_GAIN: Final = 2.0


class FixedShare:
    """The same probability for all routes of a rule."""

    def __init__(self, probability: float) -> None:
        self._threshold = thresholds.of_probability(probability)

    def decide(self, _key: Key, randomness: int) -> int | None:
        """The threshold with which a new trace is sampled; None if it is not."""
        return self._threshold if randomness >= self._threshold else None

    def report_failure(self, key: Key) -> None:
        """Failures change nothing here."""


class _Route:
    """What is known of a route. The rates are per second, smoothed over the windows."""

    __slots__ = ("failed", "failures", "rate", "seen", "threshold", "weight")

    def __init__(self, threshold: int) -> None:
        self.threshold = threshold
        self.seen = self.failed = 0
        self.rate = self.failures = 0.0
        self.weight = 1.0

    def close_window(self, seconds: float, remembered: float) -> None:
        """Take over what was counted in a window; `remembered` is how much the past weighs."""
        rate, failures = self.seen / seconds, self.failed / seconds
        is_rise = rate > 2 * self.rate and self.seen >= _FEW
        self.rate = rate if is_rise else rate + (self.rate - rate) * remembered
        self.weight = 1.0 + (self.weight - 1.0) * remembered
        if self.failed >= _FEW_FAILURES and failures > 2 * self.failures:
            self.weight = _MORE_WHILE_FAILING
        self.failures = failures + (self.failures - failures) * remembered
        self.seen = self.failed = 0


class AdaptiveRate:
    """Keeps `per_second` new traces a second in this process, over all routes of a rule.

    A tenfold rise of the traffic costs ten seconds' worth more, once. A forked child begins anew.
    Numbers that threads lose to each other make a rate a little too low, and no weight wrong.
    """

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._most_in_window = max(1.0, per_second * WINDOW_SECONDS)
        self._begin()
        forking.call_in_children(self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[Key, _Route] = {}
        # Stands for the routes that come up in a window, and for those that find no room.
        self._others = _Route(0)
        self._kept = 0
        self._gain, self._is_limited = 1.0, False
        self._since = self._clock()

    def decide(self, key: Key, randomness: int) -> int | None:
        """The threshold with which a new trace is sampled; None if it is not."""
        now = self._clock()
        if self._is_over(now):
            self._adjust(now)
        route = self._routes.get(key)
        if route is None:
            route = self._add(key)
        route.seen += 1
        threshold = route.threshold
        if randomness < threshold:
            return None
        self._kept += 1
        return threshold

    def report_failure(self, key: Key) -> None:
        """A send or a delivery of this route has failed."""
        route = self._routes.get(key)
        if route is not None:
            route.failed += 1

    def routes(self) -> int:
        """How many routes are known."""
        return len(self._routes)

    def _add(self, key: Key) -> _Route:
        if len(self._routes) >= MAX_ROUTES:
            return self._others
        self._others.seen += 1
        return self._routes.setdefault(key, _Route(self._others.threshold))

    def _adjust(self, now: float) -> None:
        if not self._lock.acquire(blocking=False):
            return  # another thread does it
        try:
            if not self._is_over(now):
                return  # another thread has done it
            elapsed = max(now - self._since, 0.0)
            self._correct(elapsed)
            self._since, self._kept = now, 0
            self._close_windows(elapsed)
            self._set_thresholds()
        finally:
            self._lock.release()

    def _is_over(self, now: float) -> bool:
        """Whether the window is, by its time or by what it may keep."""
        return now - self._since >= WINDOW_SECONDS or self._kept >= self._most_in_window

    def _correct(self, elapsed: float) -> None:
        """What rare routes do not need after all, others may have."""
        expected = self._per_second * max(elapsed, _SHORTEST_SECONDS)
        missing = max(-1.0, 1.0 - self._kept / expected)
        corrected = min(max(self._gain + _CORRECTION * missing, 1.0), _MOST_GAIN)
        self._gain = corrected if self._is_limited else 1.0

    def _close_windows(self, elapsed: float) -> None:
        seconds = max(elapsed, _SHORTEST_SECONDS)
        remembered = 0.5 ** (elapsed / WINDOW_SECONDS)
        new = self._others.seen
        for key, route in self._routes.copy().items():
            route.close_window(seconds, remembered)
            if route.rate < _SLOWEST:
                self._routes.pop(key, None)
        self._others.close_window(seconds, remembered)
        # Each of them is a rare one; they are no more than what is known, lest they have it all.
        self._others.weight = math.sqrt(max(1, min(new, len(self._routes))))

    def _set_thresholds(self) -> None:
        routes = [*self._routes.copy().values(), self._others]
        claims = [(route.rate, route.weight * math.sqrt(route.rate)) for route in routes]
        budget = self._per_second * self._gain
        level = _level((claim for claim in claims if claim[0]), budget)
        self._is_limited = level < math.inf
        for route, (_, weight) in zip(routes, claims, strict=True):
            allowed = level * weight
            share = allowed / route.rate if route.rate > allowed else 1.0
            route.threshold = thresholds.of_probability(share)


def _level(rates: Iterable[tuple[float, float]], budget: float) -> float:
    """The rate that each route may have per weight, so that all together have `budget`.

    Who has less than that keeps all, and leaves the rest to the others.
    """
    by_need = sorted(rates, key=lambda each: each[0] / each[1])
    weights = sum(weight for _, weight in by_need)
    for rate, weight in by_need:
        if rate * weights >= budget * weight:
            return budget / weights
        budget -= rate
        weights -= weight
    return math.inf
