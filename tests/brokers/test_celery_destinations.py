"""The destination is the queue as its users named it, on whichever way a message got there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import App, Lab
    from tests.brokers.harness_producer import Producer

NAME, OUTCOME = "messaging.destination.name", "taskqueue.task.outcome"
METRICS = (
    "messaging.client.sent.messages",
    "messaging.client.consumed.messages",
    "messaging.process.duration",
    "taskqueue.task.wait",
)


@pytest.fixture(scope="module")
def delayed_app(lab: Lab) -> App:
    """An app with a quorum queue on a topic exchange."""
    pytest.importorskip("celery.worker.consumer.delayed_delivery", reason="Celery 5.5 has it")
    if lab.broker.system != "rabbitmq":
        pytest.skip("RabbitMQ delays messages itself, no other broker")
    return lab.module("tests.brokers.apps.celery_delayed")


@pytest.fixture(scope="module")
def delayed(lab: Lab, delayed_app: App) -> Iterator[Producer]:
    """A worker of this app, and a producer."""
    lab.celery(delayed_app, arguments=["-Q", delayed_app.queue])
    yield lab.producer(delayed_app)
    lab.close()


def destinations(lab: Lab, app: App) -> set[str]:
    """Return the destinations in the metrics of all processes."""
    return {
        point.attributes[NAME]
        for name in METRICS
        for point in lab.receiver.latest_points(name)
        if app.queue in point.attributes[NAME]
    }


@pytest.mark.parametrize(
    ("code", "outcomes"),
    [
        ("for n in 1, 2, 3: work.apply_async(countdown=n)", ["success"] * 3),
        ("patient.apply_async((3, 1), countdown=1)", ["retry"] * 3 + ["success"]),
        ("patient.apply_async((1, 0), countdown=3)", ["retry", "success"]),
        ("sleep.apply_async(countdown=1)", ["timeout"]),
        ("app.send_task('nobody', countdown=1)", ["unknown_task"]),
    ],
)
def test_destination_of_delayed_message_has_no_delay(
    code: str, outcomes: list[str], delayed: Producer, delayed_app: App, lab: Lab
) -> None:
    """For any delay, the first attempt or a later one, whichever process records the end."""
    sent = delayed.run(code)
    sends = max(1, code.count("for") * 3)
    spans = lab.receiver.expect_trace(sent.trace_id, sends + len(outcomes), timeout=30)
    assert {span.attributes[NAME] for span in spans} == {delayed_app.queue}
    told = [span.attributes[OUTCOME] for span in spans if span.kind == "consumer"]
    assert told == outcomes
    waits = [span.attributes["taskqueue.task.wait"] for span in spans if span.kind == "consumer"]
    assert max(waits) < 5
    assert destinations(lab, delayed_app) == {delayed_app.queue}


@pytest.mark.parametrize("countdown", [None, 1])
def test_dead_letter_queue_is_named_only_if_message_is_in_it(
    countdown: int | None, delayed: Producer, delayed_app: App, lab: Lab
) -> None:
    """A delayed message keeps the delay in its routing key, which no direct exchange knows."""
    sent = delayed.run(f"dead_letters(); result = reject.apply_async(countdown={countdown}).id")
    _, rejected = lab.receiver.expect_trace(sent.trace_id, 2, timeout=30)
    assert rejected.attributes[OUTCOME] == "rejected"
    dead = rejected.attributes.get("taskqueue.dead_letter.queue")
    assert dead == (None if countdown else f"{delayed_app.queue}-dead")
    assert _dead_letters(delayed, expected=0 if countdown else 1) == [sent.result] * (
        dead is not None
    )


@pytest.mark.parametrize("requeue", [False, True])
def test_reject_after_early_ack_names_no_dead_letter_queue(
    requeue: bool, delayed: Producer, lab: Lab
) -> None:
    """Without `acks_late` the message is in no queue any more, whatever the task asks for."""
    sent = delayed.run(f"dead_letters(); reject_too_late.delay({requeue})")
    _, rejected = lab.receiver.expect_trace(sent.trace_id, 2, timeout=30, settle=2)
    assert rejected.attributes[OUTCOME] == "rejected"
    assert "taskqueue.dead_letter.queue" not in rejected.attributes
    assert _dead_letters(delayed, expected=0) == []


def _dead_letters(producer: Producer, expected: int) -> list[str]:
    """Return what is in the dead-letter queue: `expected` messages, or those of one second."""
    deadline, found = time.monotonic() + (10 if expected else 1), []
    while time.monotonic() < deadline and not (expected and len(found) >= expected):
        found += producer.run("import time; time.sleep(0.05); result = dead_letters()").result
    return found


BROADCAST = """
from celery import Celery
from kombu import Queue
from kombu.common import Broadcast
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import QUEUE, celery_settings

app = Celery("news")
app.conf.update(celery_settings(task_queues=[Queue(QUEUE), Broadcast(f"{QUEUE}-news")]))
app.conf.task_routes = {"tell": {"queue": f"{QUEUE}-news"}}
instrument(app)

@app.task(name="tell")
def tell():
    pass

def tell_all(**options):
    "Redis has to know of a fanout in each connection, and Celery declares no broadcast to send."
    exchange = app.amqp.queues[f"{QUEUE}-news"].exchange
    app.send_task("tell", declare=[exchange], **options)
"""


@pytest.fixture(scope="module")
def news_app(lab: Lab) -> App:
    """An app with a broadcast queue."""
    return lab.app(BROADCAST)


@pytest.fixture(scope="module")
def news(lab: Lab, news_app: App) -> Iterator[Producer]:
    """Two workers that receive every message, each from a queue of its own."""
    for number in range(2):
        lab.celery(news_app, pool="solo", arguments=["-n", f"{news_app.queue}-{number}@test"])
    yield lab.producer(news_app)
    lab.close()


@pytest.mark.parametrize(
    "code", ["tell_all()", "tell_all(exchange=f'{QUEUE}-news', routing_key=QUEUE)"]
)
def test_destination_of_broadcast_is_its_declared_name(
    code: str, news: Producer, news_app: App, lab: Lab
) -> None:
    """In the producer and in each worker, on spans and metrics."""
    sent = news.run(code)
    spans = lab.receiver.expect_trace(sent.trace_id, 3, timeout=30)
    assert {span.attributes[NAME] for span in spans} == {f"{news_app.queue}-news"}
    assert destinations(lab, news_app) == {f"{news_app.queue}-news"}
