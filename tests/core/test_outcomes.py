"""Each outcome: its span and its metrics, and what they do not have."""

from __future__ import annotations

import os
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_queue_plugins.core.messages import (
    NO_WORKFLOW,
    SUCCEEDED,
    Delivery,
    Ending,
    Message,
    Outcome,
    Workflow,
)
from tests.core.conftest import ROUTE, START, Queue

ERRORS = {"failure", "dead_letter", "rejected", "timeout", "lost", "unknown_task", "undecodable"}
EVENTS = {
    "retry": "taskqueue.retry",
    "dead_letter": "taskqueue.dead_letter",
    "revoked": "taskqueue.revoked",
    "expired": "taskqueue.expired",
    "skipped": "taskqueue.skipped",
    "lost": "taskqueue.lost",
}
ENDINGS = [
    Ending(outcome=Outcome.RETRY, error=OSError("busy"), delay=4.0, reason="busy"),
    Ending(outcome=Outcome.DEAD_LETTER, reason="throws", dead_letter_queue="shop.XQ"),
    Ending(outcome=Outcome.DEAD_LETTER, error=OSError("busy"), dead_letter_queue="shop.XQ"),
    Ending(outcome=Outcome.REJECTED, reason="unique 4711", dead_letter_queue="shop.dead"),
    Ending(outcome=Outcome.SKIPPED, reason="age_limit", dead_letter_queue="shop.XQ"),
    Ending(outcome=Outcome.REVOKED, reason="terminated"),
    Ending(outcome=Outcome.EXPIRED, reason="too late"),
    Ending(outcome=Outcome.LOST, error=OSError("busy"), reason="signal 9"),
]
COMMON = {
    "messaging.system": "redis",
    "messaging.destination.name": "shop",
    "taskqueue.task.name": "shop.tasks.ship",
}


def test_there_are_fourteen_outcomes() -> None:
    """The contract has fourteen outcomes."""
    assert len(Outcome) == 14


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_has_one_span_one_count_and_one_duration(
    queue: Queue, outcome: Outcome
) -> None:
    """One process span for each delivery; status, event and metrics follow from the outcome."""
    span = queue.process(queue.send(), Ending(outcome=outcome, reason="because"), takes=2.5)
    assert len(queue.spans("process")) == 1
    assert span.attributes["taskqueue.task.outcome"] == outcome.value
    failed = outcome.value in ERRORS
    assert span.status.status_code is (StatusCode.ERROR if failed else StatusCode.UNSET)
    assert span.attributes.get("error.type") == (outcome.value if failed else None)
    assert [event.name for event in span.events] == [
        EVENTS[outcome.value] for _ in range(outcome.value in EVENTS)
    ]
    [consumed] = queue.points("messaging.client.consumed.messages")
    assert consumed.value == 1
    is_declared = outcome.value not in {"unknown_task", "undecodable"}
    assert dict(consumed.attributes) == {
        **COMMON,
        **({} if is_declared else {"taskqueue.task.name": "_OTHER"}),
        "messaging.operation.name": "process",
        "taskqueue.task.outcome": outcome.value,
    }
    [duration] = queue.points("messaging.process.duration")
    assert (duration.count, duration.sum) == (1, 2.5)
    assert duration.attributes.get("error.type") == (outcome.value if failed else None)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_outcome_has_only_the_rare_metrics_of_its_kind(queue: Queue, outcome: Outcome) -> None:
    """Retries, dead letters and cancellations are counted when they happen, and never otherwise."""
    queue.process(queue.send(), Ending(outcome=outcome))
    expected = {
        "retry": {"taskqueue.task.retries"},
        "dead_letter": {"taskqueue.task.dead_letters"},
        "revoked": {"taskqueue.task.cancellations"},
        "expired": {"taskqueue.task.cancellations"},
        "skipped": {"taskqueue.task.cancellations"},
    }.get(outcome.value, set())
    rare = {"taskqueue.task.retries", "taskqueue.task.dead_letters"}
    rare |= {"taskqueue.task.cancellations", "taskqueue.schedule.drift"}
    rare |= {"taskqueue.task.prefetch_wait", "taskqueue.task.completion"}
    assert queue.metrics() & rare == expected


@pytest.mark.parametrize("outcome", list(Outcome))
def test_expected_exception_leaves_status_unset(queue: Queue, outcome: Outcome) -> None:
    """A declared exception gives no stack trace and no event, but `error.type`."""
    ending = Ending(outcome=outcome, error=LookupError("gone"), expected=True)
    span = queue.process(queue.send(), ending)
    assert span.status.status_code is StatusCode.UNSET
    assert "exception.stacktrace" not in span.attributes
    assert "exception" not in [event.name for event in span.events]
    named = "LookupError" if outcome.value in ERRORS else None
    assert span.attributes.get("error.type") == named


def test_failure_has_exception_as_attributes_and_event(queue: Queue) -> None:
    """Type, message and stack trace are attributes AND one exception event."""
    with pytest.raises(ValueError, match="bad") as raised:
        ship(-1)
    ending = Ending(outcome=Outcome.FAILURE, error=raised.value)
    span = queue.process(queue.send(), ending, takes=1)
    assert span.status.description == "bad amount"
    assert span.attributes["error.type"] == "ValueError"
    assert span.attributes["exception.message"] == "bad amount"
    assert "in ship" in span.attributes["exception.stacktrace"]
    [event] = span.events
    assert event.name == "exception"
    assert event.timestamp == span.end_time
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["exception.stacktrace"] == span.attributes["exception.stacktrace"]


def test_formatted_stack_trace_of_framework_is_used(queue: Queue) -> None:
    """An exception from another process has only the text."""
    ending = Ending(outcome=Outcome.LOST, error=OSError(9), stacktrace="File x, line 1")
    span = queue.process(queue.send(), ending)
    assert span.attributes["exception.stacktrace"] == "File x, line 1"


def test_retry_has_reason_and_delay_without_exception_event(queue: Queue) -> None:
    """On the span and on its `taskqueue.retry` event."""
    ending = Ending(outcome=Outcome.RETRY, error=OSError("busy"), delay=4.0, reason="busy")
    span = queue.process(queue.send(), ending, attempt=2, max_attempts=5)
    assert span.attributes["taskqueue.retry.delay"] == 4.0
    assert span.attributes["taskqueue.retry.reason"] == "busy"
    assert span.attributes["taskqueue.task.max_attempts"] == 5
    [event] = span.events
    assert dict(event.attributes) == {
        "taskqueue.task.attempt": 2,
        "taskqueue.retry.delay": 4.0,
        "taskqueue.retry.reason": "busy",
        "error.type": "OSError",
    }
    [retries] = queue.points("taskqueue.task.retries")
    assert dict(retries.attributes) == {**COMMON, "error.type": "OSError"}


def test_retry_with_retry_is_error_has_status_error(queue: Queue) -> None:
    """`retry_is_error` changes the status of the attempt and nothing else."""
    queue = queue.sibling(retry_is_error=True)
    span = queue.process(queue.send(), Ending(outcome=Outcome.RETRY, reason="busy"))
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "busy")
    assert "error.type" not in span.attributes


def test_dead_letter_has_queue_and_reason(queue: Queue) -> None:
    """On the span, its event and the counter."""
    ending = Ending(
        outcome=Outcome.DEAD_LETTER, reason="retries_exhausted", dead_letter_queue="shop.XQ"
    )
    span = queue.process(queue.send(), ending)
    assert span.attributes["taskqueue.dead_letter.queue"] == "shop.XQ"
    assert span.attributes["taskqueue.dead_letter.reason"] == "retries_exhausted"
    [event] = span.events
    reason = {"taskqueue.dead_letter.reason": "retries_exhausted"}
    assert dict(event.attributes) == {**reason, "taskqueue.dead_letter.queue": "shop.XQ"}
    [dead] = queue.points("taskqueue.task.dead_letters")
    assert dict(dead.attributes) == {**COMMON, **reason}


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.SKIPPED])
def test_rejected_or_skipped_message_in_dead_letter_queue_is_counted(
    queue: Queue, outcome: Outcome
) -> None:
    """The reason on the counter is the outcome."""
    ending = Ending(outcome=outcome, reason="unique 4711", dead_letter_queue="shop.dead")
    span = queue.process(queue.send(), ending)
    assert span.attributes["taskqueue.dead_letter.queue"] == "shop.dead"
    assert [event.name for event in span.events][-1] == "taskqueue.dead_letter"
    [dead] = queue.points("taskqueue.task.dead_letters")
    assert dead.attributes["taskqueue.dead_letter.reason"] == outcome.value


@pytest.mark.parametrize("outcome", [Outcome.REVOKED, Outcome.EXPIRED, Outcome.SKIPPED])
def test_cancellation_has_scope_of_framework_or_outcome(queue: Queue, outcome: Outcome) -> None:
    """The scope is the outcome, unless the framework gives another one."""
    queue.process(queue.send(), Ending(outcome=outcome))
    queue.process(queue.send(), Ending(outcome=outcome, cancellation="terminated"))
    points = queue.points("taskqueue.task.cancellations")
    assert {point.attributes["taskqueue.cancellation.scope"] for point in points} == {
        outcome.value,
        "terminated",
    }


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.outcome.value)
def test_event_attributes_equal_those_of_the_span(queue: Queue, ending: Ending) -> None:
    """One name has one meaning; each of our names has our namespace."""
    span = queue.process(queue.send(), ending, attempt=2)
    events = [event for event in span.events if event.name != "exception"]
    assert events
    for event in events:
        own = {
            name: value
            for name, value in event.attributes.items()
            if name != "error.type"  # of an attempt that will be tried again: no error of the span
        }
        assert own
        assert own.items() <= dict(span.attributes).items()
        assert all(name.startswith("taskqueue.") for name in own)


def test_delivery_with_all_facts_exports_each_as_attribute(queue: Queue) -> None:
    """All optional facts of a delivery are exported, with the right type."""
    span = queue.process(
        queue.send(conversation_id="root"),
        conversation_id="root",
        attempt=3,
        max_attempts=4,
        priority=7,
        trigger="callback",
        expires_at=START + 60,
        received_at=START,
        redelivered=True,
        worker_name="w1",
        worker_pid=42,
        workflow=Workflow(kind="chain", id="c1", step=2),
        takes=1,
    )
    assert span.kind is SpanKind.CONSUMER
    assert span.name == "process shop.tasks.ship"
    assert dict(span.attributes) == {
        **COMMON,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": "m1",
        "messaging.message.conversation_id": "root",
        "server.address": "queue.example",
        "server.port": 6379,
        "taskqueue.framework": "celery",
        "taskqueue.task.outcome": "success",
        "taskqueue.task.attempt": 3,
        "taskqueue.task.max_attempts": 4,
        "taskqueue.task.priority": 7,
        "taskqueue.task.trigger": "callback",
        "taskqueue.task.wait": 0.0,
        "taskqueue.task.prefetch_wait": 0.0,
        "taskqueue.task.deadline_remaining": 60.0,
        "taskqueue.redelivered": True,
        "taskqueue.worker.name": "w1",
        "process.pid": 42,
        "taskqueue.workflow.kind": "chain",
        "taskqueue.workflow.id": "c1",
        "taskqueue.workflow.step": 2,
        "code.function.name": "shop.tasks.ship",
    }
    assert span.events == ()


@pytest.mark.parametrize("received_at", [START, None])
def test_received_event_needs_the_option_and_a_time(
    queue: Queue, received_at: float | None
) -> None:
    """The event has the time of the receipt; without the option it is not there."""
    queue.process({}, received_at=received_at)
    queue.sibling(events="all").process({}, received_at=received_at)
    essential, everything = queue.spans()
    assert essential.events == ()
    assert [(event.name, event.timestamp) for event in everything.events] == (
        [("taskqueue.received", int(START * 1e9))] if received_at else []
    )


PLACE = ("kind", "id", "step")
_STEP = Workflow(kind="chain", id="", step=1)


@pytest.mark.parametrize(
    ("own", "sent", "shown"),
    [
        (Workflow(kind="chain", id="c1"), _STEP, ("chain", "c1", 1)),
        (Workflow(kind="group", id="g1", step=0), _STEP, ("group", "g1", 0)),
        (Workflow(kind="chord", id="g1"), _STEP, ("chord", "g1", None)),
        (Workflow(kind="group", id="g1", step=0), NO_WORKFLOW, (None, None, None)),
        (Workflow(kind="group", id="g1", step=0), None, ("group", "g1", 0)),
        (None, _STEP, ("chain", None, 1)),
        (None, NO_WORKFLOW, (None, None, None)),
    ],
)
def test_workflow_of_framework_wins_over_that_of_envelope(
    queue: Queue, own: Workflow | None, sent: Workflow | None, shown: tuple[object, ...]
) -> None:
    """The step of the envelope is added if both mean the same chain."""
    carrier = queue.send(trigger="workflow", workflow=sent)
    attributes = queue.process(carrier, workflow=own).attributes
    assert tuple(attributes.get(f"taskqueue.workflow.{name}") for name in PLACE) == shown


def test_span_has_creation_attributes_from_its_start(queue: Queue) -> None:
    """A sampler sees what the contract lists as creation attributes, and more."""
    at_start = {
        "process.pid": os.getpid(),
        "taskqueue.task.attempt": 1,
        "taskqueue.task.trigger": "call",
        "code.function.name": "shop.tasks.ship",
    }
    send = queue.telemetry.start_send(_message(), {})
    process = queue.start({})
    for operation, kind, more in ((send, "send", {}), (process, "process", at_start)):
        assert dict(operation.span.attributes) == {
            **COMMON,
            "messaging.operation.name": kind,
            "messaging.operation.type": kind,
            "messaging.message.id": "m1",
            "server.address": "queue.example",
            "server.port": 6379,
            "taskqueue.framework": "celery",
            **more,
        }
    queue.telemetry.end_process(process, SUCCEEDED)
    queue.telemetry.end_send(send)


def test_dead_letter_after_timeout_has_no_retry_reason(queue: Queue) -> None:
    """A message that timed out for good was not retried."""
    ending = Ending(outcome=Outcome.TIMEOUT, reason="time_limit", dead_letter_queue="jobs.XQ")
    span = queue.process(queue.send(), ending)
    assert span.attributes["taskqueue.dead_letter.reason"] == "time_limit"
    assert "taskqueue.retry.reason" not in span.attributes


def test_record_undelivered_exports_span_with_real_start(queue: Queue) -> None:
    """Another process can write the span, and nothing of it is current."""
    carrier = queue.send()
    queue.clock.advance(10)
    queue.telemetry.record_undelivered(
        _delivery(worker_pid=9), carrier, Ending(outcome=Outcome.LOST), started_at=START + 4
    )
    queue.telemetry.record_undelivered(_delivery(), carrier, Ending(outcome=Outcome.EXPIRED))
    lost, expired = queue.spans("process")
    assert lost.parent.span_id == queue.spans("send")[0].context.span_id
    assert (lost.start_time, lost.end_time - lost.start_time) == (
        (1_700_000_004) * 10**9,
        6 * 10**9,
    )
    assert lost.attributes["process.pid"] == 9
    assert expired.start_time == expired.end_time


def test_span_name_queue_names_spans_after_the_queue(queue: Queue) -> None:
    """`span_name="queue"` gives the names of the messaging conventions."""
    queue = queue.sibling(span_name="queue")
    queue.process(queue.send())
    assert [span.name for span in queue.spans()] == ["send shop", "process shop"]


def ship(amount: int) -> None:
    """A task."""
    raise ValueError("bad amount" if amount < 0 else "")


def _message() -> Message:
    return Message(route=ROUTE, id="m1")


def _delivery(**facts: Any) -> Delivery:
    return Delivery(route=ROUTE, id="m1", **facts)
