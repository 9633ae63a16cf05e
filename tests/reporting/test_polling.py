"""Looks at the broker: once an interval, less often in an outage, never old values."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.brokers.leases import Held
from tests.reporting.conftest import INTERVAL

if TYPE_CHECKING:
    from tests.reporting.conftest import Desk

DOWN = BrokerError("redis://host: no answer in 2 s")


def test_values_are_shown_until_two_intervals_have_passed(desk: Desk) -> None:
    """One look may be missed; after two there is nothing rather than what was."""
    desk.broker.held = Held(until={"a": 1e9, "b": 1e9})
    assert desk.polling.poll() == pytest.approx(INTERVAL)
    assert desk.depths() == {"a": 3, "b": 3}
    desk.broker.error = DOWN
    desk.clock.now += INTERVAL
    desk.polling.poll()
    assert desk.depths() == {"a": 3, "b": 3}
    desk.clock.now += INTERVAL
    assert desk.depths() == {}
    assert not desk.gauges.has_values()


def test_holder_stops_before_its_lease_ends(desk: Desk) -> None:
    """By its own clock, when it could not renew it."""
    desk.polling.poll()
    desk.broker.error = DOWN
    desk.clock.now += desk.broker.lifetime - 0.01
    assert desk.depths() == {"a": 3, "b": 3}
    desk.clock.now += 0.02
    assert desk.depths() == {}
    assert INTERVAL < desk.broker.lifetime < 2 * INTERVAL


def test_lease_that_was_lost_ends_the_report_at_once(desk: Desk) -> None:
    """A connection that ended has given all leases back."""
    lost: list[bool] = []
    desk.broker.held = Held(until={"a": 1e9}, is_lost=lambda: bool(lost))
    desk.polling.poll()
    assert desk.depths() == {"a": 3}
    lost.append(True)
    assert desk.depths() == {}


def test_queue_of_another_reporter_is_not_looked_at(desk: Desk) -> None:
    """And is tried again when that lease would end, if it is not renewed."""
    desk.broker.held = Held(until={"a": 1e9}, next_end=4.0)
    assert 4.0 < desk.polling.poll() < 5.0
    assert desk.broker.asked == [("a",)]
    desk.broker.held = Held(until={"a": 1e9}, next_end=40.0)
    assert desk.polling.poll() == pytest.approx(INTERVAL)


def test_outage_is_one_line_and_waits_up_to_a_minute(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """And one line when it is over; the next outage is logged again."""
    caplog.set_level(logging.INFO)
    desk.broker.error = DOWN
    assert [round(desk.polling.poll()) for _ in range(5)] == [10, 20, 40, 60, 60]
    assert desk.polling.failure is DOWN
    desk.broker.error = None
    assert desk.polling.poll() == pytest.approx(INTERVAL)
    assert desk.polling.failure is None
    assert desk.depths() == {"a": 3, "b": 3}
    desk.broker.error = RefusedError("the user may not")
    desk.polling.poll()
    texts = [each.getMessage() for each in caplog.records]
    assert len(texts) == 3
    assert "is not reported: redis://host: no answer in 2 s" in texts[0]
    assert "is reported again" in texts[1]
    assert "the user may not" in texts[2]


def test_whatever_is_raised_is_an_outage_without_secrets(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody's client may raise anything, with a URL in its text."""
    desk.broker.error = KeyError("redis://user:secret@host")
    assert desk.polling.poll() > 0
    assert "secret" not in caplog.text
    assert "host" in caplog.text


def test_close_shows_nothing_and_gives_everything_back(desk: Desk) -> None:
    """Even if the broker does not answer."""
    desk.polling.poll()
    desk.polling.close()
    assert desk.depths() == {}
    assert desk.broker.closed == 2
    desk.polling.close()
    assert desk.broker.closed == 2
