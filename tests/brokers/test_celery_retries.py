"""Retries on real brokers: one message, several attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import Lab, Producer

OUTCOME = "taskqueue.task.outcome"


@pytest.fixture(scope="module", params=["prefork", "threads"])
def shop(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Producer]:
    """A worker, and a producer of tasks that are retried."""
    app = lab.module("tests.brokers.apps.celery_flows")
    lab.celery(app, pool=request.param, concurrency=2)
    yield lab.producer(app)
    lab.close()


def test_attempts_are_siblings_linked_to_previous_attempt(shop: Producer, lab: Lab) -> None:
    """In one trace, with the delay and the reason of each retry."""
    sent = shop.run("stubborn.delay(2, countdown=0.2)")
    send, *attempts = lab.receiver.expect_trace(sent.trace_id, 4)
    first, second, third = attempts
    assert [a.parent_id for a in attempts] == [send.span_id] * 3
    assert [a.attributes["taskqueue.task.attempt"] for a in attempts] == [1, 2, 3]
    assert {a.attributes["taskqueue.task.max_attempts"] for a in attempts} == {4}
    assert [a.attributes[OUTCOME] for a in attempts] == ["retry", "retry", "success"]
    assert first.links == ()
    assert [link.span_id for link in second.links] == [first.span_id]
    assert [link.span_id for link in third.links] == [second.span_id]
    assert first.attributes["taskqueue.retry.delay"] == pytest.approx(0.2, abs=0.02)
    assert first.attributes["taskqueue.retry.reason"] == "not yet"
    assert [event.name for event in first.events][-1] == "taskqueue.retry"
    assert second.attributes["taskqueue.task.scheduled_delay"] == pytest.approx(0.2, abs=0.1)
    assert second.attributes["taskqueue.task.wait"] < 2


@pytest.mark.parametrize("nested", [False, True])
def test_third_retry_has_context_and_baggage_of_send(
    shop: Producer, lab: Lab, nested: bool
) -> None:
    """It has the first context, tracestate and baggage.

    `nested`: also beside a tracer that keeps its own copy of them in a header called `headers`.
    """
    code = f"""
        from celery import signals
        def copy(headers, **_):
            if {nested}:
                names = ("traceparent", "tracestate", "baggage", "otq")
                headers["headers"] = {{k: headers[k] for k in names if k in headers}}
        signals.before_task_publish.connect(copy)
        try:
            pending = stubborn.delay(3)
        finally:
            signals.before_task_publish.disconnect(copy)
        result = pending.get(timeout=15)
    """
    sent = shop.run(code, carrier={"baggage": "user=7", "tracestate": "vendor=1"}, timeout=30)
    send, *attempts = lab.receiver.expect_trace(sent.trace_id, 5)
    assert sent.result == {"user": "7"}
    assert [a.parent_id for a in attempts] == [send.span_id] * 4
    assert all(0 <= a.attributes["taskqueue.task.wait"] < 5 for a in attempts)
    seen = shop.run("result = stubborn.delay(1).get(timeout=15)").result
    assert seen == {}


def test_exhausted_retries_are_failure(shop: Producer, lab: Lab) -> None:
    """The last attempt has the error."""
    sent = shop.run("stubborn.delay(9)")
    _, *attempts = lab.receiver.expect_trace(sent.trace_id, 5)
    assert [a.attributes[OUTCOME] for a in attempts] == ["retry"] * 3 + ["failure"]
    assert attempts[-1].attributes["error.type"] == "ValueError"


def test_retry_sent_by_main_process_is_same_message(own_lab: Lab) -> None:
    """`retry_on_worker_lost`: the main process enqueues it."""
    from celery import Task

    if not hasattr(Task, "retry_on_worker_lost"):
        pytest.skip("Celery 5.7 has it")
    app = own_lab.module("tests.brokers.apps.celery_flows")
    own_lab.celery(app, pool="prefork", concurrency=1)
    sent = own_lab.producer(app).run("dies_once.delay()")
    send, lost, again = own_lab.receiver.expect_trace(sent.trace_id, 3)
    assert lost.parent_id == again.parent_id == send.span_id
    assert again.attributes["taskqueue.task.attempt"] == 2
    assert [link.span_id for link in again.links] == [lost.span_id]
    assert again.attributes[OUTCOME] == "success"
