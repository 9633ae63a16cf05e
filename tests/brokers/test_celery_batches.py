"""celery-batches on real brokers: each message has its span, whichever process records it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("celery_batches")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import App, Lab
    from tests.brokers.harness_producer import Sent

OUTCOME = "taskqueue.task.outcome"
SIZE = "messaging.batch.message_count"
APP = """
    import logging
    import os
    import signal
    import time

    from celery import Celery
    from celery_batches import Batches
    from opentelemetry import trace

    from otel_queue_plugins.celery import instrument
    from tests.brokers.apps.settings import celery_settings

    app = Celery("batches")
    app.conf.update(celery_settings(task_ignore_result=False))
    instrument(app)
    tracer = trace.get_tracer("app")

    def batch(name, **options):
        return app.task(name=name, base=Batches, flush_every=3, flush_interval=2, **options)

    @app.task(name="ok")
    def ok():
        pass

    @batch("many")
    def many(requests):
        with tracer.start_as_current_span("work"):
            ok.delay()
        for request in requests:
            app.backend.mark_as_done(request.id, request.args[0], request=request)

    @batch("fail")
    def fail(requests):
        raise ValueError("broken")

    @batch("shot")
    def shot(requests):
        os.kill(os.getpid(), signal.SIGKILL)

    @batch("leave")
    def leave(requests):
        raise SystemExit(3)

    @batch("hold")
    def hold(requests):
        with tracer.start_as_current_span("work"):
            logging.getLogger("app").warning("at work")
        time.sleep(60)
"""


def _send(lab: Lab, app: App, task: str) -> list[Sent]:
    """Send three messages, each in its own trace."""
    producer = lab.producer(app)
    return [producer.run(f"result = {task}.delay({number}).id") for number in range(3)]


def _processed(lab: Lab, task: str, sent: Sequence[Sent]) -> list[ReceivedSpan]:
    """Return the process span of each message: one, in the trace it was sent in."""
    found = [
        lab.receiver.expect_span(f"process {task}", trace_id=one.trace_id, timeout=30)
        for one in sent
    ]
    for span, one in zip(found, sent, strict=True):
        send = lab.receiver.expect_span(f"send {task}", trace_id=one.trace_id)
        assert span.parent_id == send.span_id
        assert span.attributes["messaging.message.id"] == one.result
    return found


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_batch_has_process_span_for_each_message(pool: str, own_lab: Lab) -> None:
    """What the call does is a child of the first, and the others link to it."""
    app = own_lab.app(APP)
    worker = own_lab.celery(app, pool=pool)
    sent = _send(own_lab, app, "many")
    spans = _processed(own_lab, "many", sent)
    assert [span.attributes[OUTCOME] for span in spans] == ["success"] * 3
    [first] = [span for span in spans if SIZE in span.attributes]
    others = [span for span in spans if span is not first]
    assert first.attributes[SIZE] == 3
    assert all(first.span_id in {link.span_id for link in span.links} for span in others)
    assert {span.parent_id for span in others} <= {link.span_id for link in first.links}
    work = own_lab.receiver.expect_span("work", trace_id=first.trace_id)
    assert work.parent_id == first.span_id
    own_lab.receiver.expect_span("process ok", trace_id=first.trace_id)
    assert {span.attributes["process.pid"] == worker.pid for span in spans} == {pool != "prefork"}
    assert all(span.attributes["taskqueue.task.prefetch_wait"] >= 0 for span in spans)
    own_lab.receiver.expect_total(
        "messaging.client.consumed.messages",
        3,
        taskqueue__task__name="many",
        taskqueue__task__outcome="success",
    )


@pytest.mark.parametrize(
    ("task", "outcome", "error"),
    [
        ("fail", "failure", "ValueError"),
        ("shot", "lost", "billiard.exceptions.WorkerLostError"),
        ("leave", "lost", None),
    ],
)
def test_batch_that_fails_has_failed_span_for_each_message(
    task: str, outcome: str, error: str | None, own_lab: Lab
) -> None:
    """Whether the call raises, or its process dies."""
    app = own_lab.app(APP)
    own_lab.celery(app)
    spans = _processed(own_lab, task, _send(own_lab, app, task))
    for span in spans:
        assert span.attributes[OUTCOME] == outcome
        assert error in (None, span.attributes["error.type"])
        assert span.status == "error"
    own_lab.receiver.expect_total(
        "messaging.client.consumed.messages", 3, taskqueue__task__outcome=outcome
    )


def test_batch_whose_process_is_terminated_is_recorded(own_lab: Lab) -> None:
    """Its end is when the process left the call, not when the process was gone."""
    app = own_lab.app(APP)
    worker = own_lab.celery(app)
    sent = _send(own_lab, app, "hold")
    worker.wait_for_log("at work")
    own_lab.receiver.expect_span("work")
    for pid in worker.children():
        os.kill(pid, signal.SIGTERM)
    ended_ns = time.time_ns()
    spans = _processed(own_lab, "hold", sent)
    assert [span.attributes[OUTCOME] for span in spans] == ["lost"] * 3
    assert all(span.end_ns < ended_ns + 1e9 for span in spans)
