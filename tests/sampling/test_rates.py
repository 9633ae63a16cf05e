"""So many traces a second: kept to, in any traffic, with bounded memory."""

from __future__ import annotations

import json
import math
import os
import random
import threading

from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.sdk.sampling import thresholds
from otel_queue_plugins.sdk.sampling.rates import MAX_ROUTES, AdaptiveRate, _level
from tests.core.conftest import in_child
from tests.sampling_simulation import SHORT, FakeTime, run, run_deliveries, unseen

WARM = 300


class Process:
    """One rate, and what it kept of each route."""

    def __init__(self, per_second: float) -> None:
        self.clock = FakeTime()
        self.rate = AdaptiveRate(per_second, self.clock)
        self._chance = random.Random(3)

    def decide(self, name: str) -> int | None:
        return self.rate.decide((name, "queue"), self._chance.getrandbits(56))

    def run(self, seconds: int, traffic: dict[str, float]) -> dict[str, int]:
        """Begin traces of some names, each so often a second."""
        kept = dict.fromkeys(traffic, 0)
        for _ in range(seconds * 10):
            self.clock.now += 0.1
            for name, per_second in traffic.items():
                number = int(per_second / 10 + self._chance.random())
                kept[name] += sum(self.decide(name) is not None for _ in range(number))
        return kept


def test_rate_is_kept_and_rare_routes_are_kept_whole() -> None:
    """All of what is rare, and of the frequent ones as much as is left."""
    process = Process(5)
    traffic = {"hot": 200.0, "warm": 50.0, "rare": 0.1}
    process.run(WARM, traffic)
    kept = process.run(600, traffic)
    assert 0.8 * 5 < sum(kept.values()) / 600 < 1.1 * 5
    assert kept["rare"] > 40
    assert kept["hot"] > kept["warm"] > kept["rare"]


def test_traffic_below_the_rate_is_kept_whole() -> None:
    """It has no need of sampling."""
    process = Process(50)
    assert process.run(60, {"a": 10.0, "b": 20.0}) == {"a": 600, "b": 1200}


def test_sudden_rise_costs_ten_seconds_worth_for_each_tenfold() -> None:
    """Ten thousand a second from one moment on: the probability does not wait ten seconds."""
    process = Process(5)
    process.run(WARM, {"a": 1.0})
    kept = process.run(10, {"a": 10_000.0})
    assert kept["a"] < 5 * 10 * 6


def test_many_new_names_do_not_break_the_rate_and_take_bounded_memory() -> None:
    """A name that never comes again is rare, but all of them together are not."""
    process = Process(5)
    kept = 0
    for number in range(200_000):
        process.clock.now += 0.001
        kept += process.decide(f"name {number}") is not None
    assert kept < 200 * 5 * 1.2
    assert process.rate.routes() <= MAX_ROUTES


def test_routes_that_stay_away_are_forgotten() -> None:
    """After some minutes."""
    process = Process(5)
    process.run(20, {f"{number}": 1.0 for number in range(100)})
    process.run(600, {"a": 1.0})
    assert process.rate.routes() == 1


def test_route_whose_failures_rise_is_kept_more() -> None:
    """For a while; then it is as before."""
    process = Process(5)
    traffic = {"good": 100.0, "bad": 100.0}
    process.run(WARM, traffic)
    for _ in range(20):
        process.rate.report_failure(("bad", "queue"))
        process.rate.report_failure(("unknown", "queue"))
    process.run(11, traffic)
    kept = process.run(30, traffic)
    assert kept["bad"] > 1.5 * kept["good"]
    process.run(300, traffic)
    kept = process.run(300, traffic)
    assert 0.8 < kept["bad"] / kept["good"] < 1.25


def test_threads_decide_at_once_and_nothing_waits() -> None:
    """While one of them sets the probabilities, the others go on with those of before."""
    process = Process(5)
    process.run(WARM, {"a": 100.0})
    process.clock.now += 60
    with process.rate._lock:
        assert process.decide("a") in {None, process.rate._routes["a", "queue"].threshold}
    threads = [
        threading.Thread(target=lambda: [process.decide("a") for _ in range(2000)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_forked_child_begins_anew() -> None:
    """Its rate is its own, even if the parent held the lock at the fork."""
    process = Process(5)
    process.run(WARM, {"a": 100.0})
    assert process.decide("a") is None or process.rate.routes() == 1

    def first_decisions() -> str:
        return json.dumps([process.rate.routes(), process.decide("a"), os.getpid()])

    with process.rate._lock:
        routes, threshold, pid = json.loads(in_child(first_decisions))
    assert (routes, threshold) == (0, 0)
    assert pid != os.getpid()
    assert process.rate.routes() == 1


@given(
    st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 10)), max_size=30),
    st.floats(0.01, 1e4),
)
def test_level_shares_the_whole_budget_and_no_more(
    claims: list[tuple[float, float]], budget: float
) -> None:
    """Unless all together want less."""
    level = _level(claims, budget)
    shared = sum(min(rate, level * weight) for rate, weight in claims)
    wanted = sum(rate for rate, _ in claims)
    assert math.isclose(shared, min(wanted, budget), rel_tol=1e-6)


def test_weight_of_what_is_kept_is_the_truth_over_a_burst_of_traffic() -> None:
    """Half an hour of the simulation: rates, rare tasks, and counts from `ot=th:`.

    `python -m tests.sampling_simulation` shows a whole day, with 1,000 tasks and ten processes.
    """
    tallies = run(SHORT)
    processes, seconds = SHORT.processes, SHORT.seconds
    rates = {rule: tally.kept / seconds / processes for rule, tally in tallies.items()}
    assert 1.7 < rates["default=2/s"] < 2.1
    assert 0.85 < rates["queue:bulk=1/s"] < 1.05
    charge, audit = tallies["task:charge=1.0"], tallies["task:audit.*=0.01"]
    assert charge.kept == charge.begun == charge.weight
    assert abs(audit.kept / audit.begun - 0.01) < 0.003
    for rule in ("default=2/s", "queue:bulk=1/s"):
        assert unseen(tallies[rule], at_least=1) == []
        assert tallies[rule].most_in_a_minute / 60 / processes < 1.6 * float(rule[-3])
    begun = sum(tally.begun for tally in tallies.values())
    assert abs(sum(tally.weight for tally in tallies.values()) / begun - 1) < 0.05
    assert thresholds.new_state(0).to_header() == "ot=th:0"


def test_no_failed_delivery_is_missed() -> None:
    """Whatever share of them is sampled, in bursts of failures, too; each leaves once."""
    failed, exported, others = run_deliveries(1500, processes=2)
    assert exported == failed > 30
    assert 0 < others < 1500 - failed
