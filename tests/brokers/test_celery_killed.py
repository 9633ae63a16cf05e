"""Tasks that do not run to their end: each is recorded once, by the process that is left."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import celery
import pytest

from tests.brokers.proxy import Proxy
from tests.brokers.telemetry_cases import RESTING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab
    from tests.brokers.harness_producer import Producer, Sent
    from tests.processes import ManagedProcess

APP = "tests.brokers.apps.celery_outcomes"
OUTCOME = "taskqueue.task.outcome"
CANCELLED = "taskqueue.task.cancellations"
CONSUMED = "messaging.client.consumed.messages"
NEVER_BY_ITSELF = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_METRIC_EXPORT_INTERVAL": "60000"}


OLD = tuple(int(part) for part in celery.__version__.split(".")[:2]) < (5, 7)
EXIT = "billiard.exceptions.WorkerLostError" if OLD else "SystemExit"
since_5_7 = pytest.mark.skipif(OLD, reason="Celery before 5.7 does something else here")


@pytest.fixture(scope="module")
def worker(lab: Lab) -> ManagedProcess:
    """A worker whose children are killed by one test after another."""
    app = lab.module(APP, queue=f"{lab.broker.queue}-killed")
    return lab.celery(app, arguments=["-Q", app.queue])


@pytest.fixture(scope="module")
def sender(lab: Lab, worker: ManagedProcess) -> Iterator[Producer]:
    """A producer for that worker."""
    assert worker.returncode is None
    yield lab.producer(lab.module(APP, queue=f"{lab.broker.queue}-killed"))
    lab.close()


@pytest.mark.parametrize(
    ("code", "outcome", "error_type"),
    [
        ("leave.delay()", "lost", EXIT),
        ("leave.delay(0)", "lost", EXIT),
        ("shot.delay()", "lost", "billiard.exceptions.WorkerLostError"),
        ("hard.delay()", "timeout", "billiard.exceptions.TimeLimitExceeded"),
        ("stubborn.delay('return')", "timeout", "billiard.exceptions.TimeLimitExceeded"),
        ("stubborn.delay('raise')", "timeout", "billiard.exceptions.TimeLimitExceeded"),
        ("stubborn.delay('go on')", "timeout", "billiard.exceptions.TimeLimitExceeded"),
        ("deaf.delay()", "timeout", "billiard.exceptions.TimeLimitExceeded"),
        ("hold.apply_async([20], time_limit=0.4)", "timeout", None),
    ],
)
def test_task_whose_process_dies_is_recorded_by_main_process(
    code: str,
    outcome: str,
    error_type: str | None,
    sender: Producer,
    worker: ManagedProcess,
    lab: Lab,
) -> None:
    """One span with the true start, the pid of the child, its own spans, and an error."""
    sent = sender.run(code)
    send, process, work = _three(lab, sent)
    assert process.attributes[OUTCOME] == outcome
    assert process.status == "error"
    assert error_type in (None, process.attributes["error.type"])
    assert process.parent_id == send.span_id
    assert work.parent_id == process.span_id
    assert process.attributes["process.pid"] != worker.pid
    assert process.start_ns <= work.start_ns <= work.end_ns <= process.end_ns
    if outcome == "timeout":
        assert 0.35 < process.duration_s < 3


@pytest.mark.parametrize("number", ["TERM", "KILL"])
def test_terminated_task_is_revoked_without_error(
    number: str, sender: Producer, worker: ManagedProcess, lab: Lab
) -> None:
    """`revoke(terminate=True)` is no error; the signal is the reason."""
    sent = sender.run("result = hold.delay(20).id")
    lab.receiver.expect_span("work", trace_id=sent.trace_id)
    sender.run(f"app.control.revoke({sent.result!r}, terminate=True, signal='SIG{number}')")
    _, process, work = _three(lab, sent)
    assert process.attributes[OUTCOME] == "revoked"
    assert process.status == "unset"
    assert process.attributes["taskqueue.skip.reason"] == f"terminated by SIG{number}"
    assert process.attributes["process.pid"] != worker.pid
    assert work.parent_id == process.span_id
    assert process.end_ns > work.end_ns


def test_task_revoked_before_start_is_recorded_without_running(sender: Producer, lab: Lab) -> None:
    """The span is in the trace of the sender."""
    sent = sender.run("result = ok.apply_async(countdown=1).id")
    sender.run(f"app.control.revoke({sent.result!r})")
    send, process = lab.receiver.expect_trace(sent.trace_id, 2, settle=0, timeout=20)
    assert process.attributes[OUTCOME] == "revoked"
    assert process.attributes["taskqueue.skip.reason"] == "revoked"
    assert process.status == "unset"
    assert process.parent_id == send.span_id


def test_redelivered_message_has_two_deliveries(sender: Producer, lab: Lab) -> None:
    """With acks_late and reject_on_worker_lost the broker delivers it again."""
    sent = sender.run("shot_once.delay()")
    send, *rest = lab.receiver.expect_trace(sent.trace_id, 4, settle=0, timeout=20)
    lost, again = [span for span in rest if span.name == "process shot_once"]
    assert [lost.attributes[OUTCOME], again.attributes[OUTCOME]] == ["lost", "success"]
    assert lost.status == "error"
    assert again.attributes["taskqueue.redelivered"] is True
    assert "taskqueue.redelivered" not in lost.attributes
    assert {lost.parent_id, again.parent_id} == {send.span_id}
    assert lost.span_id != again.span_id


@since_5_7
def test_lost_task_with_retry_on_worker_lost_is_retry(sender: Producer, lab: Lab) -> None:
    """The second attempt is a sibling of the first and links to it."""
    sent = sender.run("shot_and_retried.delay()")
    send, *rest = lab.receiver.expect_trace(sent.trace_id, 4, settle=0, timeout=20)
    lost, again = [span for span in rest if span.name == "process shot_and_retried"]
    assert [lost.attributes[OUTCOME], again.attributes[OUTCOME]] == ["retry", "success"]
    assert lost.attributes["taskqueue.retry.reason"] == "worker lost"
    assert lost.attributes["taskqueue.retry.delay"] == 0
    assert again.attributes["taskqueue.task.attempt"] == 2
    assert {lost.parent_id, again.parent_id} == {send.span_id}
    assert [link.span_id for link in again.links] == [lost.span_id]


@since_5_7
def test_task_whose_process_dies_after_result_is_stored_is_success(
    sender: Producer, lab: Lab
) -> None:
    """Celery treats it as done."""
    sent = sender.run("shot_after.delay()")
    _, process, work = _three(lab, sent)
    assert process.attributes[OUTCOME] == "success"
    assert process.status == "unset"
    assert work.parent_id == process.span_id


def test_task_that_survives_termination_keeps_its_outcome(sender: Producer, lab: Lab) -> None:
    """A task that catches the exit and returns is a success."""
    sent = sender.run("result = persistent.delay(0.2).id")
    lab.receiver.expect_span("work", trace_id=sent.trace_id)
    sender.run(f"app.control.revoke({sent.result!r}, terminate=True)")
    _, process, _ = _three(lab, sent)
    assert process.attributes[OUTCOME] == "success"


def test_task_that_ends_at_its_time_limit_is_recorded_once(sender: Producer, lab: Lab) -> None:
    """By the child, or by the main process that gives up on it, but not by both."""
    code = """
        def trace_of(seconds):
            with tracer.start_as_current_span("request", context=context.Context()) as span:
                hard.delay(seconds)
            return f"{span.get_span_context().trace_id:032x}"
        from opentelemetry import context
        result = [trace_of(0.3 + step * 0.012) for step in range(12)]
    """
    traces = sender.run(code).result
    ends = [lab.receiver.expect_span("process hard", trace_id=trace) for trace in traces]
    outcomes = {end.attributes[OUTCOME] for end in ends}
    assert outcomes == {"success", "timeout"}
    assert [end.status == "error" for end in ends] == [
        end.attributes[OUTCOME] == "timeout" for end in ends
    ]


def test_deliveries_recorded_by_main_process_are_counted_once(sender: Producer, lab: Lab) -> None:
    """Each has one span, and the counts agree with the spans."""
    assert sender.process.returncode is None
    lab.receiver.wait_for(lambda: False, 0.5)
    queue = f"{lab.broker.queue}-killed"
    spans = [
        span
        for span in lab.receiver.spans()
        if span.kind == "consumer" and span.attributes["messaging.destination.name"] == queue
    ]
    assert len({span.span_id for span in spans}) == len(spans)
    counted = Counter(span.attributes[OUTCOME] for span in spans)
    for outcome in ("lost", "timeout", "revoked", "retry"):
        lab.receiver.expect_total(CONSUMED, counted[outcome], taskqueue__task__outcome=outcome)
    for scope, count in (("terminated", 2), ("revoked", 1)):
        lab.receiver.expect_total(CANCELLED, count, taskqueue__cancellation__scope=scope)
    lab.receiver.expect_total("taskqueue.task.retries", counted["retry"])


def test_task_cancelled_after_broker_was_lost_is_retry(own_lab: Lab) -> None:
    """No telemetry of its child is lost."""
    with Proxy(own_lab.broker.url) as proxy:
        app = own_lab.module(APP)
        worker = own_lab.celery(app, arguments=["-Q", app.queue], env={"BROKER_URL": proxy.url})
        sent = own_lab.producer(app).run("hold_late.delay(20)")
        own_lab.receiver.expect_span("work", trace_id=sent.trace_id)
        proxy.cut()
        process = own_lab.receiver.expect_span("process hold_late", trace_id=sent.trace_id)
    assert process.attributes[OUTCOME] == "retry"
    assert process.attributes["taskqueue.retry.reason"] == "cancelled by Celery"
    assert process.attributes["process.pid"] != worker.pid
    assert process.status == "unset"


def test_task_ended_by_cold_shutdown_is_recorded(own_lab: Lab) -> None:
    """SIGQUIT ends running tasks; the span is exported before the worker has ended."""
    app = own_lab.module(APP)
    worker = own_lab.celery(app, arguments=["-Q", app.queue])
    sent = own_lab.producer(app).run("hold.delay(20)")
    own_lab.receiver.expect_span("work", trace_id=sent.trace_id)
    worker.stop(signal.SIGQUIT)
    _, process, _ = own_lab.receiver.expect_trace(sent.trace_id, 3)
    assert process.attributes[OUTCOME] == "lost"


def test_tasks_that_end_at_shutdown_are_recorded_once(own_lab: Lab) -> None:
    """Children that are done and children that are ended: one span for each task."""
    app = own_lab.module(APP)
    worker = own_lab.celery(app, concurrency=4, arguments=["-Q", app.queue])
    producer = own_lab.producer(app)
    sent = [producer.run(f"hold.delay({0.6 + 0.05 * step})") for step in range(4)]
    worker.wait_for_log("at work", count=4)
    sleeping = own_lab.receiver.expect_span("work", trace_id=sent[0].trace_id)
    own_lab.receiver.wait_for(lambda: time.time_ns() > sleeping.start_ns + 600_000_000, 2)
    worker.stop(signal.SIGQUIT)
    for one in sent:
        spans = own_lab.receiver.expect_trace(one.trace_id, 3)
        [process] = [span for span in spans if span.name == "process hold"]
        assert process.attributes[OUTCOME] in ("success", "lost")


@since_5_7
def test_memory_error_that_ends_worker_is_recorded(own_lab: Lab) -> None:
    """Celery ends on a MemoryError; the span of the task is exported before."""
    app = own_lab.module(APP)
    worker = own_lab.celery(app, arguments=["-Q", app.queue], env=NEVER_BY_ITSELF)
    sent = own_lab.producer(app).run("starved.delay()")
    worker.wait()
    _, process = own_lab.receiver.expect_trace(sent.trace_id, 2)
    assert process.attributes[OUTCOME] == "failure"
    assert process.attributes["error.type"] == "MemoryError"


@pytest.mark.parametrize("arguments", [["--max-tasks-per-child=1"], []])
def test_child_that_ends_exports_all(arguments: list[str], own_lab: Lab) -> None:
    """Recycled or stopped: no span and no count is lost, without any timer."""
    app = own_lab.module(APP)
    worker = own_lab.celery(app, arguments=["-Q", app.queue, *arguments], env=NEVER_BY_ITSELF)
    producer = own_lab.producer(app)
    sent = producer.run("for n in range(6): ok.delay(n)")
    worker.wait_for_log("succeeded", count=6)
    producer.run(RESTING)
    assert worker.stop() == 0
    spans = own_lab.receiver.expect_trace(sent.trace_id, 12)
    pids = {span.attributes["process.pid"] for span in spans if span.kind == "consumer"}
    assert len(pids) == 6 if arguments else len(pids) <= 2
    own_lab.receiver.expect_total(CONSUMED, 6, taskqueue__task__outcome="success")


def _three(lab: Lab, sent: Sent) -> tuple[ReceivedSpan, ReceivedSpan, ReceivedSpan]:
    """Return the spans of the send, of the delivery and of the work inside it."""
    spans = lab.receiver.expect_trace(sent.trace_id, 3, settle=0, timeout=20)
    by_kind = {span.kind: span for span in spans}
    return by_kind["producer"], by_kind["consumer"], by_kind["internal"]
