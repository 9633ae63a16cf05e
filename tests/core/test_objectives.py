"""Deliveries are counted against their objectives, once each, by what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.core.messages import SUCCEEDED, Ending, Outcome
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.outcomes import ERRORS, FINAL
from otel_queue_plugins.core.settings.objectives import Limits, Objectives, limits_for
from tests.core.conftest import ROUTE

if TYPE_CHECKING:
    from tests.core.conftest import Queue

SLO = "taskqueue.slo.deliveries"
UNDECLARED = {Outcome.UNKNOWN_TASK, Outcome.UNDECODABLE}  # their names are not on metrics
RULES = "default:wait<10s,run<2s"


def counted(queue: Queue, task: str = ROUTE.task) -> dict[tuple[str, bool], int]:
    """How many deliveries met and missed each objective."""
    points = queue.points(SLO)
    for point in points:
        assert point.attributes["taskqueue.task.name"] == task
        assert point.attributes["messaging.destination.name"] == ROUTE.destination
    return {
        (
            point.attributes["taskqueue.slo.objective"],
            point.attributes["taskqueue.slo.met"],
        ): point.value
        for point in points
    }


def deliver(
    queue: Queue, *, waits: float = 0, takes: float = 0, ending: Ending = SUCCEEDED
) -> None:
    """One message that is sent, waits, and is run."""
    carrier = queue.send()
    queue.clock.advance(waits)
    queue.process(carrier, ending, takes=takes)


def test_nothing_is_counted_without_objectives(queue: Queue) -> None:
    """There is not even the instrument."""
    deliver(queue)
    assert SLO not in queue.metrics()


@pytest.mark.parametrize(
    ("waits", "takes", "wait_met", "run_met"),
    [(0, 0, True, True), (9.9, 1.9, True, True), (10, 2, False, False), (60, 0, False, True)],
)
def test_waiting_and_running_are_counted_apart(
    queue: Queue, waits: float, takes: float, wait_met: bool, run_met: bool
) -> None:
    """A limit itself is missed: it says less than."""
    shop = queue.sibling(slo=RULES)
    deliver(shop, waits=waits, takes=takes)
    assert counted(shop) == {("wait", wait_met): 1, ("run", run_met): 1}


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_error_misses_running_and_what_did_not_run_does_not_count(
    queue: Queue, outcome: Outcome
) -> None:
    """However fast it was. A retry counts at its final outcome."""
    shop = queue.sibling(slo="default:run<2s")
    deliver(shop, ending=Ending(outcome=outcome))
    found = counted(shop, "_OTHER" if outcome in UNDECLARED else ROUTE.task)
    if outcome in ERRORS:
        assert found == {("run", False): 1}
    elif outcome is Outcome.SUCCESS:
        assert found == {("run", True): 1}
    else:
        assert found == {}
    assert outcome in FINAL or not found


def test_retried_message_runs_once_and_waits_each_time(queue: Queue) -> None:
    """Two attempts, of which the second succeeds."""
    shop = queue.sibling(slo=RULES)
    carrier = shop.send()
    shop.process(carrier, Ending(outcome=Outcome.RETRY))
    shop.clock.advance(20)
    shop.process(carrier, attempt=2)
    assert sum(n for (objective, _), n in counted(shop).items() if objective == "run") == 1
    assert sum(n for (objective, _), n in counted(shop).items() if objective == "wait") == 2


def test_delivery_of_unknown_wait_is_held_to_running_alone(queue: Queue) -> None:
    """Nobody said when it was sent."""
    shop = queue.sibling(slo=RULES)
    shop.process({})
    assert counted(shop) == {("run", True): 1}


@pytest.mark.parametrize(
    ("text", "task", "queue_name", "limits"),
    [
        ("default:wait<10s,run<60s", "a", "q", Limits(10, 60)),
        ("task:shop.*:wait<1s; default:wait<10s,run<60s", "shop.pay", "q", Limits(1, 60)),
        ("default:wait<10s; task:shop.*:wait<500ms", "shop.pay", "q", Limits(0.5, None)),
        ("task:shop.pay:run<1m;task:shop.*:run<2m,wait<3", "shop.pay", "q", Limits(3, 60)),
        ("queue:bulk:wait<1h", "a", "bulk", Limits(3600, None)),
        ("queue:bulk:wait<1h", "a", "q", Limits(None, None)),
        ("task:a:b:wait < 1.5 s", "a:b", "q", Limits(1.5, None)),
        ("", "a", "q", Limits(None, None)),
    ],
)
def test_first_rule_that_fits_counts(text: str, task: str, queue_name: str, limits: Limits) -> None:
    """For each of the two apart; the default comes last."""
    assert limits_for(Objectives().check(text), task, queue_name) == limits


@pytest.mark.parametrize(
    "text",
    [
        "wait<1s",
        "default",
        "default:",
        "default:wait",
        "default:wait<",
        "default:wait<1d",
        "default:wait<-1s",
        "default:wait>1s",
        "default:wait<1s,wait<2s",
        "default:sleep<1s",
        "task::wait<1s",
        "worker:a:wait<1s",
        "default:wait<1s;task:a",
    ],
)
def test_wrong_rule_is_named(text: str) -> None:
    """With the form that rules have."""
    wrong = text.rpartition(";")[2]
    with pytest.raises(ValueError, match="slo: ") as raised:
        Options(slo=text)  # type: ignore[arg-type]
    assert repr(wrong) in str(raised.value)
    assert "task:GLOB" in str(raised.value)


def test_rules_are_no_other_type() -> None:
    """A number, say."""
    with pytest.raises(ValueError, match="5 is not rules"):
        Options(slo=5)  # type: ignore[arg-type]


@given(st.text(max_size=60))
def test_any_text_is_rules_or_a_value_error(text: str) -> None:
    """No other error."""
    rules: Any = ()
    try:
        rules = Objectives().check(text)
    except ValueError:
        return
    assert Objectives().check(rules) == rules


def test_waiting_alone_is_counted_alone(queue: Queue) -> None:
    """An objective that is not set counts nothing."""
    shop = queue.sibling(slo="default:wait<10s")
    deliver(shop)
    assert counted(shop) == {("wait", True): 1}
