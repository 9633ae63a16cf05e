"""Ids and times of messages are read as Celery reads them, on real brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.brokers.harness import Lab
    from tests.brokers.harness_producer import Producer

APP = """
import datetime, os, uuid
from celery import Celery, chain
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("facts")
zone = os.environ.get("APP_ZONE")
app.conf.update(celery_settings(enable_utc=not zone, timezone=zone or None))
instrument(app)

def naive(seconds):
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return now + datetime.timedelta(seconds=seconds)

@app.task(name="work")
def work(*_):
    pass

@app.task(name="flaky", bind=True, max_retries=2)
def flaky(self):
    if not self.request.retries:
        raise self.retry(countdown=0, max_retries=6)

@app.task(name="later", bind=True)
def later(self):
    if not self.request.retries:
        raise self.retry(eta=naive(1))

@app.task(name="reset", bind=True, max_retries=2)
def reset(self):
    if self.request.headers is None or self.request.headers.get("run", 0) < 3:
        self.request.retries = 0
        run = (self.request.headers or {}).get("run", 0)
        raise self.retry(countdown=0, headers={"run": run + 1})
"""
ZONES = {
    "the host's zone": {"TZ": "America/New_York"},
    "the app's zone": {"TZ": "Asia/Kolkata", "APP_ZONE": "Europe/Berlin"},
}
OUTCOME, TRIGGER = "taskqueue.task.outcome", "taskqueue.task.trigger"
DELAY, WAIT = "taskqueue.task.scheduled_delay", "taskqueue.task.wait"
EXPIRES = "taskqueue.task.deadline_remaining"


@pytest.fixture(scope="module", params=ZONES)
def zones(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The time zone of every process and of the app."""
    return ZONES[request.param]


@pytest.fixture(scope="module")
def facts(lab: Lab, zones: Mapping[str, str]) -> Iterator[Producer]:
    """A prefork worker in that zone, and a producer."""
    app = lab.app(APP)
    producer = lab.producer(app, env=zones)
    lab.celery(app, env=zones)
    producer.run("work.delay()")  # the first one connects, which may take longer than an ETA
    yield producer
    lab.close()


def test_time_without_zone_is_read_as_utc(facts: Producer, lab: Lab) -> None:
    """Celery takes it for UTC and runs the task then; wait, delay and deadline agree."""
    sent = facts.run("""
        eta, expires = naive(2), naive(60)
        work.apply_async(eta=eta, expires=expires)
        utc = datetime.timezone.utc
        result = [each.replace(tzinfo=utc).timestamp() for each in (eta, expires)]
    """)
    eta, expires = sent.result
    send, process = lab.receiver.expect_trace(sent.trace_id, 2, timeout=30)
    started, sent_at = process.start_ns / 1e9, send.start_ns / 1e9
    assert eta <= started < eta + 15
    assert process.attributes[WAIT] == pytest.approx(started - max(eta, sent_at), abs=0.2)
    assert process.attributes[EXPIRES] == pytest.approx(expires - started, abs=0.2)
    assert process.attributes[DELAY] == pytest.approx(max(0.0, eta - sent_at), abs=0.2)


def test_expiry_without_zone_that_has_passed_is_expired(facts: Producer, lab: Lab) -> None:
    """Redis hands the message over, and it is expired; RabbitMQ drops it itself."""
    if lab.broker.system == "rabbitmq":
        pytest.skip("the message never comes")
    sent = facts.run("work.apply_async(expires=naive(-30))")
    _, process = lab.receiver.expect_trace(sent.trace_id, 2, timeout=30)
    assert process.attributes[OUTCOME] == "expired"
    assert process.attributes[EXPIRES] == pytest.approx(-30, abs=10)


def test_retry_with_eta_without_zone_has_delay_of_next_attempt(facts: Producer, lab: Lab) -> None:
    """The delay on the attempt is the scheduled delay of the next one."""
    sent = facts.run("later.delay()")
    _, first, second = lab.receiver.expect_trace(sent.trace_id, 3, timeout=30)
    assert 0 < first.attributes["taskqueue.retry.delay"] <= 1
    assert 0 < second.attributes[DELAY] <= 1
    assert second.attributes[WAIT] < 5


@pytest.mark.parametrize("task_id", ["str(uuid.uuid4())", "uuid.uuid4()", "uuid.uuid4().int >> 70"])
def test_task_id_of_any_type_keeps_message_and_trigger(
    task_id: str, facts: Producer, lab: Lab
) -> None:
    """A retry is the same message, and what follows a task is a callback."""
    if lab.broker.system == "rabbitmq" and "str" not in task_id:
        pytest.skip("Celery sends no such id over AMQP")
    sent = facts.run(f"given = {task_id}; flaky.apply_async(task_id=given); result = str(given)")
    send, first, second = lab.receiver.expect_trace(sent.trace_id, 3, timeout=30)
    assert first.parent_id == second.parent_id == send.span_id
    assert [link.span_id for link in second.links][-1] == first.span_id
    assert {span.attributes["messaging.message.id"] for span in (send, first, second)} == {
        sent.result
    }
    limits = [span.attributes["taskqueue.task.max_attempts"] for span in (first, second)]
    assert limits == [7, 3]
    sent = facts.run(f"work.apply_async(task_id={task_id}, link=work.si())")
    spans = lab.receiver.expect_trace(sent.trace_id, 4, timeout=30)
    triggers = [span.attributes[TRIGGER] for span in spans if span.kind == "consumer"]
    assert triggers == ["call", "callback"]


def test_task_that_resets_retries_stays_one_message(facts: Producer, lab: Lab) -> None:
    """All its attempts belong to one message."""
    sent = facts.run("reset.delay()")
    send, *attempts = lab.receiver.expect_trace(sent.trace_id, 5, timeout=30)
    assert {attempt.parent_id for attempt in attempts} == {send.span_id}
    assert _of(attempts, OUTCOME) == ["retry"] * 3 + ["success"]
    assert _of(attempts, "taskqueue.task.attempt") == [1, 2, 2, 2]
    assert _of(attempts, TRIGGER) == ["call"] * 4


def _of(spans: list[Any], name: str) -> list[Any]:
    return [span.attributes[name] for span in spans]
