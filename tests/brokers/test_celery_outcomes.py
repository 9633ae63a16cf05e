"""Outcomes of tasks that run to their end: one span for each delivery, and the correct outcome."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.celery_outcome_cases import APP, CASES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab
    from tests.brokers.harness_producer import Producer

OUTCOME = "taskqueue.task.outcome"
CONSUMED = "messaging.client.consumed.messages"


@pytest.fixture(scope="module", params=["prefork", "threads"])
def pool(request: pytest.FixtureRequest) -> str:
    """The pool of the worker that the tests share."""
    return str(request.param)


@pytest.fixture(scope="module")
def outcomes(lab: Lab, pool: str) -> Iterator[Producer]:
    """A worker and a producer; at the end each delivery has one span, and counts agree."""
    app = lab.module(APP)
    lab.celery(app, pool=pool, arguments=["-Q", app.queue])
    yield lab.producer(app)
    lab.close()


@pytest.mark.parametrize("name", CASES)
def test_delivery_has_one_span_with_its_outcome(name: str, outcomes: Producer, lab: Lab) -> None:
    """Only failures have an error status."""
    case = CASES[name]
    sent = outcomes.run(case.code)
    spans = lab.receiver.expect_trace(
        sent.trace_id, case.sends + len(case.outcomes), settle=0, timeout=30
    )
    processed = [span for span in spans if span.kind == "consumer"]
    assert [span.attributes[OUTCOME] for span in processed] == list(case.outcomes)
    assert [span.status for span in processed[:-1]] == ["unset"] * (len(processed) - 1)
    assert processed[-1].status == ("error" if case.error else "unset")
    _assert_attributes(processed[0], case.first)
    _assert_attributes(processed[-1], case.last)


def test_rejected_message_names_dead_letter_queue(outcomes: Producer, lab: Lab) -> None:
    """Reject without requeue is an error; the dead-letter queue is named if there is one."""
    sent = outcomes.run("dead_letters(); result = reject.delay().id")
    _, process = lab.receiver.expect_trace(sent.trace_id, 2, settle=0, timeout=30)
    rabbit = lab.broker.system == "rabbitmq"
    assert process.attributes[OUTCOME] == "rejected"
    assert process.status == "error"
    dead = process.attributes.get("taskqueue.dead_letter.queue")
    assert dead == (f"{process.attributes['messaging.destination.name']}-dead" if rabbit else None)
    if rabbit:
        assert outcomes.run("result = dead_letters()").result == [sent.result]


def test_soft_time_limit_is_timeout(outcomes: Producer, lab: Lab, pool: str) -> None:
    """For a task that does not catch SoftTimeLimitExceeded; only prefork has that limit."""
    if pool != "prefork":
        return
    sent = outcomes.run("soft.delay()")
    spans = lab.receiver.expect_trace(sent.trace_id, 3, timeout=30, settle=0)
    process = next(span for span in spans if span.kind == "consumer")
    assert process.attributes[OUTCOME] == "timeout"
    assert process.attributes["error.type"] == "billiard.exceptions.SoftTimeLimitExceeded"
    assert process.status == "error"


def test_attempts_are_siblings_linked_to_previous_attempt(outcomes: Producer, lab: Lab) -> None:
    """The event of a retry is on the attempt that asked for it."""
    sent = outcomes.run("again.delay(2)")
    send, *attempts = lab.receiver.expect_trace(sent.trace_id, 4, timeout=30, settle=0)
    assert {attempt.parent_id for attempt in attempts} == {send.span_id}
    before = [attempt.span_id for attempt in attempts]
    for number, attempt in enumerate(attempts):
        linked = [link.span_id for link in attempt.links]
        assert linked == ([] if number == 0 else [before[number - 1]])
        asked = [event for event in attempt.events if event.name == "taskqueue.retry"]
        assert len(asked) == (1 if number < 2 else 0)
        if asked:
            assert asked[0].attributes["taskqueue.task.attempt"] == number + 1
            assert asked[0].attributes["error.type"] == "ValueError"


def test_countdown_and_backoff_are_no_part_of_wait(outcomes: Producer, lab: Lab) -> None:
    """They are the scheduled delay; the wait begins when they are over."""
    late = outcomes.run("ok.apply_async(countdown=0.8)")
    again = outcomes.run("again.delay(1, countdown=0.7)")
    send, process = lab.receiver.expect_trace(late.trace_id, 2, timeout=30, settle=0)
    _, first, second = lab.receiver.expect_trace(again.trace_id, 3, timeout=30, settle=0)
    for span, planned, before in ((process, 0.8, send), (second, 0.7, first)):
        passed = (span.start_ns - before.start_ns) / 1e9
        wait = span.attributes["taskqueue.task.wait"]
        assert span.attributes["taskqueue.task.scheduled_delay"] == pytest.approx(planned, abs=0.1)
        assert 0 <= wait <= passed - planned + 0.01
        assert span.attributes["taskqueue.task.prefetch_wait"] <= wait
    assert first.attributes["taskqueue.retry.delay"] == pytest.approx(0.7, abs=0.01)
    assert "taskqueue.task.scheduled_delay" not in first.attributes


def test_message_from_clock_ahead_has_no_negative_wait(outcomes: Producer, lab: Lab) -> None:
    """A message from the future has not waited."""
    ahead = int((time.time() + 3600) * 1e6)
    sent = outcomes.run(f"raw('[[], {{}}, {{}}]', task='ok', otq='{ahead:x}')")
    (process,) = lab.receiver.expect_trace(sent.trace_id, 1, timeout=30, settle=0)
    assert process.attributes["taskqueue.task.wait"] == 0
    assert process.attributes["taskqueue.task.prefetch_wait"] == 0


def test_time_in_busy_worker_is_prefetch_wait(outcomes: Producer, lab: Lab) -> None:
    """The worker holds the message and has no free slot."""
    sent = outcomes.run("for _ in range(3): hold.delay(0.7)")
    spans = lab.receiver.expect_trace(sent.trace_id, 9, timeout=30, settle=0)
    *_, last = [span for span in spans if span.kind == "consumer"]
    held = last.attributes["taskqueue.task.prefetch_wait"]
    assert 0.5 < held <= last.attributes["taskqueue.task.wait"]
    assert last.events == ()


def test_message_revoked_before_its_eta_is_recorded_without_error(
    outcomes: Producer, lab: Lab
) -> None:
    """The task does not run, as intended."""
    sent = outcomes.run("result = ok.apply_async(countdown=0.8).id")
    outcomes.run(f"app.control.revoke({sent.result!r})")
    _, process = lab.receiver.expect_trace(sent.trace_id, 2, timeout=30, settle=0)
    assert process.attributes[OUTCOME] == "revoked"
    assert process.status == "unset"
    assert [event.name for event in process.events] == ["taskqueue.revoked"]


def test_all_deliveries_are_recorded_once_and_counts_agree_with_spans(
    outcomes: Producer, lab: Lab
) -> None:
    """After all tests above there is one span for each delivery, and counters agree."""
    queue = outcomes.run("result = QUEUE").result
    lab.receiver.wait_for(lambda: False, 0.5)
    spans = [
        span
        for span in lab.receiver.spans()
        if span.kind == "consumer" and span.attributes["messaging.destination.name"] == queue
    ]
    assert len({span.span_id for span in spans}) == len(spans)
    by_outcome = Counter(span.attributes[OUTCOME] for span in spans)
    assert spans
    where = {"messaging__destination__name": queue}
    for outcome, count in by_outcome.items():
        lab.receiver.expect_total(CONSUMED, count, taskqueue__task__outcome=outcome, **where)
    lab.receiver.expect_total("messaging.process.duration", len(spans), **where)
    lab.receiver.expect_total("taskqueue.task.retries", by_outcome["retry"], **where)
    for scope in ("revoked", "expired"):
        lab.receiver.expect_total(
            "taskqueue.task.cancellations",
            by_outcome[scope],
            taskqueue__cancellation__scope=scope,
            **where,
        )


def _assert_attributes(span: ReceivedSpan, expected: Mapping[str, Any]) -> None:
    assert {name: span.attributes.get(name) for name in expected} == dict(expected)
