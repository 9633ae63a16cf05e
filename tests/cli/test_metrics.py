"""Data points are added up without counting anything twice."""

from __future__ import annotations

from otel_queue_plugins.cli.view.metrics import summaries, total
from tests.cli.spans import counted, distributed

SENT = "messaging.client.sent.messages"


def test_of_a_cumulative_series_the_last_point_counts() -> None:
    """It has what the earlier ones had."""
    assert total([counted(SENT, 1, task="pay"), counted(SENT, 4, task="pay")], SENT) == 4


def test_delta_points_add_up() -> None:
    """Each of them is news."""
    points = [counted(SENT, number, task="pay", temporality="delta") for number in (1, 4)]
    assert total(points, SENT) == 5


def test_processes_and_attributes_are_series_of_their_own() -> None:
    """Two web processes that each sent one are two messages."""
    points = [
        counted(SENT, 1, task="pay", instance="1"),
        counted(SENT, 1, task="pay", instance="2"),
        counted(SENT, 1, task="ship", instance="2"),
    ]
    assert total(points, SENT) == 3


def test_other_metrics_do_not_count() -> None:
    """By name."""
    assert total([counted("other", 9)], SENT) == 0


def test_parts_are_by_outcome_where_there_is_one_else_by_task() -> None:
    """The most frequent first."""
    by_outcome, by_task = summaries(
        [
            counted("consumed", 1, task="pay", outcome="retry"),
            counted("consumed", 2, task="pay", outcome="success"),
            counted("consumed", 3, task="ship", outcome="success"),
            counted("sent", 2, task="ship"),
            counted("sent", 4, task="pay"),
        ]
    )
    assert dict(by_outcome.parts) == {"success": 5, "retry": 1}
    assert list(by_task.parts.items()) == [("pay", 4), ("ship", 2)]


def test_histograms_are_added_bucket_by_bucket() -> None:
    """Over all series."""
    (summary,) = summaries(
        [
            distributed("duration", {0.1: 1, 1: 2, 9: 0}, total=0.5, outcome="success"),
            distributed("duration", {0.1: 0, 1: 3, 9: 1}, total=4.5, outcome="retry"),
        ]
    )
    assert summary.histogram is not None
    assert summary.histogram.bucket_counts == (1, 5, 1)
    assert (summary.histogram.count, summary.histogram.sum) == (7, 5.0)
    assert summary.series == 2


def test_gauges_come_last() -> None:
    """What happened is of more interest than the state at the end."""
    found = summaries([counted("a", 1, kind="gauge"), counted("z", 1)])
    assert [each.name for each in found] == ["z", "a"]
