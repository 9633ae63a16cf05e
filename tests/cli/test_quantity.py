"""Numbers as people read them."""

from __future__ import annotations

import pytest

from otel_queue_plugins.cli.view.quantity import bound, count, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 ms"),
        (0.00042, "0.4 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (125, "2 m 05 s"),
    ],
)
def test_durations_keep_two_or_three_digits(seconds: float, text: str) -> None:
    """Also at the borders between the units, where rounding could make 1000 ms."""
    assert duration(seconds) == text


def test_bounds_are_as_short_as_they_can_be() -> None:
    """They stand at the ends of a histogram."""
    assert [bound(limit) for limit in (0, 0.005, 2.5, 3600)] == ["0", "5 ms", "2.5 s", "3600 s"]


def test_counts_have_no_useless_fraction() -> None:
    """And a mark between thousands."""
    assert [count(value) for value in (3, 3.0, 2.5, 12000)] == ["3", "3", "2.50", "12,000"]
