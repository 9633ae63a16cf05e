"""A time in a message is read as Celery reads it, whatever zone the host is in."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery.exceptions import Retry
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.celery import outcomes, translation
from tests.celery.conftest import Telemetry, memory_app, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

DELAY, EXPIRES = "taskqueue.task.scheduled_delay", "taskqueue.task.deadline_remaining"
WAIT = "taskqueue.task.wait"
SETTINGS: list[dict[str, Any]] = [
    {},
    {"timezone": "Europe/Berlin"},
    {"enable_utc": False},
    {"task_protocol": 1, "enable_utc": False, "timezone": "America/Lima"},
]


@pytest.fixture(autouse=True, params=["America/New_York", "Asia/Kolkata"])
def host_zone(request: pytest.FixtureRequest) -> Iterator[None]:
    """The zone of this process."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def naive(seconds: float) -> datetime:
    """A time without a zone, relative to now; Celery reads it as UTC."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).replace(tzinfo=None)


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def shop(request: pytest.FixtureRequest, module_telemetry: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """Tasks that are delayed, and retried at a time."""
    app = memory_app(**request.param)

    @app.task(shared=False, name="work")
    def work() -> None:
        """Succeeds."""

    @app.task(shared=False, name="again", bind=True)
    def again(self: Any, form: str) -> None:
        if not self.request.retries:
            eta = naive(2)
            raise self.retry(eta=eta.isoformat() if form == "text" else eta)

    with running(app):
        yield app


def test_time_without_zone_is_read_as_celery_does(shop: Celery, telemetry: Telemetry) -> None:
    """The wait, the delay and the deadline agree with when Celery runs the task."""
    eta, expires = naive(1), naive(60)
    shop.tasks["work"].apply_async(eta=eta, expires=expires)
    sent, processed = telemetry.expect(2)
    at, until = (each.replace(tzinfo=timezone.utc).timestamp() for each in (eta, expires))
    started, sent_at = processed.start_time / 1e9, sent.start_time / 1e9
    assert at - 0.05 < started < at + 10
    assert processed.attributes[WAIT] == pytest.approx(
        max(0.0, started - max(at, sent_at)), abs=0.2
    )
    assert processed.attributes[EXPIRES] == pytest.approx(until - started, abs=0.2)
    assert processed.attributes[DELAY] == pytest.approx(max(0.0, at - sent_at), abs=0.2)


def test_expired_time_without_zone_is_expired(shop: Celery, telemetry: Telemetry) -> None:
    """The message is expired for Celery, and for as long as its span says."""
    shop.tasks["work"].apply_async(expires=naive(-30))
    _, processed = telemetry.expect(2)
    assert processed.attributes["taskqueue.task.outcome"] == "expired"
    assert processed.attributes[EXPIRES] == pytest.approx(-30, abs=5)


@pytest.mark.parametrize("form", ["time", "text"])
def test_retry_at_time_has_delay(shop: Celery, telemetry: Telemetry, form: str) -> None:
    """The attempt has the delay until the next one, whose wait excludes it."""
    if form == "text" and shop.conf.task_protocol == 1 and celery.VERSION < (5, 7):
        pytest.skip("Celery takes none")
    shop.tasks["again"].delay(form)
    first, second = telemetry.expect(2, "process again")
    assert 0 < first.attributes["taskqueue.retry.delay"] <= 2
    assert 0 < second.attributes[DELAY] <= 2
    assert second.start_time - first.start_time > 1.9e9
    assert second.attributes[WAIT] < 5


def test_retry_at_past_time_has_no_delay() -> None:
    """The delay until the next attempt is never negative."""
    for when in (naive(-5), -5, naive(-5).isoformat()):
        assert outcomes.of_retry(Retry(when=when)).delay == 0
    assert outcomes.of_retry(Retry(when="soon")).delay is None


NOON = 1_899_979_200.0


@pytest.mark.parametrize(
    "value",
    [
        "2030-03-17T12:00:00",
        "2030-03-17T12:00:00Z",
        "2030-03-17T12:00:00+00:00",
        "2030-03-17T14:00:00.000+02:00",
        "2030-03-17 12:00",
        "20300317T120000Z",
        "20300317T120000",
        datetime(2030, 3, 17, 12),  # noqa: DTZ001 - the AMQP client makes such of a timestamp
        datetime(2030, 3, 17, 12, tzinfo=timezone.utc),
    ],
    ids=str,
)
def test_timestamp_of_each_form_is_read(value: object) -> None:
    """ISO 8601 with or without a zone, short or long."""
    assert translation.timestamp(value) == NOON


@pytest.mark.parametrize("value", [None, "", 0, 5, True, [], {"a": 1}, "soon", "2030-13-01", b"x"])
def test_timestamp_of_other_value_is_none(value: object) -> None:
    """There is no error either."""
    assert translation.timestamp(value) is None


@given(st.text(alphabet="0123456789-+:.TWZ \x00é", max_size=40))
def test_timestamp_of_similar_text_raises_nothing(text: str) -> None:
    """It is a time or None."""
    found = translation.timestamp(text)
    assert found is None or isinstance(found, float)
