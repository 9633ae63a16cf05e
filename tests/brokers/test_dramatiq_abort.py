"""dramatiq-abort: the abort of a message that waits, and of one that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import Lab, Producer

pytest.importorskip("dramatiq_abort")

OUTCOME = "taskqueue.task.outcome"
APP = """
    import os
    import sys
    import threading
    import time

    import dramatiq
    from dramatiq_abort import Abortable, abort, backends
    from redis import Redis

    from otel_queue_plugins.dramatiq import OpenTelemetryMiddleware, instrument
    from tests.brokers.apps.settings import QUEUE, RESULTS_URL, dramatiq_broker

    broker = dramatiq_broker()
    backend = backends.RedisBackend(client=Redis.from_url(RESULTS_URL))
    broker.add_middleware(Abortable(backend=backend))
    if os.environ["POSITION"] == "last":
        broker.add_middleware(OpenTelemetryMiddleware())
    else:
        instrument(broker)

    def run():
        sys.stdout.write("long runs\\n")
        sys.stdout.flush()
        ended = time.monotonic() + 20
        while time.monotonic() < ended:
            threading.Event().wait(0.01)

    def actor(name, retries):
        options = {"max_retries": retries, "min_backoff": 50, "max_backoff": 60}
        return dramatiq.actor(run, queue_name=QUEUE, actor_name=name, **options)

    once, twice = actor("once", 0), actor("twice", 1)
"""


@pytest.fixture(scope="module", params=["first", "last"])
def aborting(lab: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[Producer, Any]]:
    """A producer that sends and aborts, and a worker."""
    app, env = lab.app(APP), {"POSITION": request.param}
    producer = lab.producer(app, env)
    yield producer, lab.dramatiq(app, env=env)
    lab.close()


def test_message_aborted_while_it_waits_is_skipped(
    aborting: tuple[Producer, Any], lab: Lab
) -> None:
    """The actor does not run, and the message is not in the dead-letter queue."""
    producer, _ = aborting
    code = "message = once.send_with_options(delay=700); abort(message.message_id)"
    sent = producer.run(code)
    send, process = lab.receiver.expect_trace(sent.trace_id, 2)
    assert process.parent_id == send.span_id
    assert (process.attributes[OUTCOME], process.status) == ("skipped", "unset")
    assert process.attributes["taskqueue.skip.reason"] == "aborted"
    assert "taskqueue.dead_letter.queue" not in process.attributes
    assert [event.name for event in process.events] == ["taskqueue.skipped"]


@pytest.mark.parametrize(("name", "outcome"), [("once", "revoked"), ("twice", "retry")])
def test_message_aborted_while_it_runs_is_revoked_or_retry(
    aborting: tuple[Producer, Any], lab: Lab, name: str, outcome: str
) -> None:
    """Without further attempts it is revoked, and no error; `Retries` may retry it."""
    producer, worker = aborting
    ran = worker.log.count("long runs")
    retries = int(name == "twice")
    code = f"message = {name}.send(); result = message.message_id"
    sent = producer.run(code)
    worker.wait_for_log("long runs", count=ran + 1)
    producer.run(f"abort({sent.result!r})")
    send, process, *again = lab.receiver.expect_trace(sent.trace_id, 2 + retries)
    assert process.parent_id == send.span_id
    assert (process.attributes[OUTCOME], process.status) == (
        outcome,
        "unset",
    )
    reason = "retry" if retries else "skip"
    assert process.attributes[f"taskqueue.{reason}.reason"] == "aborted"
    assert [span.attributes[OUTCOME] for span in again] == ["skipped"] * retries
    assert worker.log.count("long runs") == ran + 1
