"""What did not arrive is named."""

from __future__ import annotations

from otel_queue_plugins.cli.demo.arrival import check, trace_of
from otel_queue_plugins.cli.demo.scenarios import Scenario, scenarios
from tests.cli.spans import counted, distributed, process, span

STORY = Scenario(
    title="Paying",
    request="POST /payments",
    sends={"pay": 1},
    deliveries={("pay", "retry"): 1, ("pay", "success"): 1},
)
SPANS = [
    span("1", "POST /payments", 0, 9),
    span("2", "send pay", 1, 2, parent="1"),
    process("3", "pay", 3, 4, "retry", parent="2"),
    process("4", "pay", 5, 6, "success", parent="2"),
]
POINTS = [
    counted("messaging.client.sent.messages", 1),
    counted("messaging.client.consumed.messages", 2),
    distributed("messaging.process.duration", {1: 2, 2: 0}, total=1),
    distributed("taskqueue.task.wait", {1: 2, 2: 0}, total=1),
]


def test_a_told_story_lacks_nothing() -> None:
    """Spans and metrics are all there."""
    arrival = check([STORY], SPANS, POINTS)
    assert arrival.missing == ()
    assert (arrival.spans, arrival.expected_spans) == (4, 4)


def test_a_missing_span_is_named_with_its_outcome() -> None:
    """The other outcome of the same task is not mistaken for it."""
    arrival = check([STORY], SPANS[:3], POINTS)
    assert arrival.missing == ("Paying (POST /payments): 1 x process pay: success",)
    assert (arrival.spans, arrival.expected_spans) == (3, 4)


def test_a_span_in_another_trace_does_not_count() -> None:
    """A broken trace is the very thing to find."""
    astray = process("4", "pay", 5, 6, "success", trace="b" * 32)
    assert check([STORY], [*SPANS[:3], astray], POINTS).missing == (
        "Paying (POST /payments): 1 x process pay: success",
    )


def test_missing_counts_say_how_many_came() -> None:
    """Metrics are part of what is promised."""
    assert check([STORY], SPANS, POINTS[:1]).missing == (
        "metric messaging.client.consumed.messages: 0 of 2",
        "metric messaging.process.duration: 0 of 2",
        "metric taskqueue.task.wait: 0 of 2",
    )


def test_nothing_at_all_is_everything_missing() -> None:
    """Also the request itself."""
    arrival = check([STORY], [], [])
    assert "Paying (POST /payments): 1 x POST /payments" in arrival.missing
    assert (arrival.spans, trace_of(STORY, [])) == (0, None)


def test_a_failure_for_good_is_a_dead_letter_where_there_is_such_a_thing() -> None:
    """Celery has none of its own."""
    outcomes = {
        name: {how for scenario in scenarios(name) for _, how in scenario.deliveries}
        for name in ("celery", "dramatiq")
    }
    assert outcomes == {
        "celery": {"success", "retry", "failure"},
        "dramatiq": {"success", "retry", "dead_letter"},
    }


def test_without_group_callbacks_nothing_joins_the_group() -> None:
    """Dramatiq needs Redis for them."""
    *_, group = scenarios("dramatiq", joins_groups=False)
    assert group.sends == {"pack": 3}
