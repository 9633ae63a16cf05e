"""Dramatiq's queues on a real RabbitMQ, with its management API and without."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pika
import pytest
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.brokers.opening import reader_of_dramatiq, reader_of_url
from otel_queue_plugins.brokers.selection import Selection
from tests.brokers.harness import App, Lab
from tests.brokers.queues import (
    look_everywhere,
    management,
    numbers,
    rabbitmq_dump,
    settle,
    until,
)
from tests.receiver import FaultyReceiver
from tests.services import Broker, Managed, queue_name, redis_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_queue_plugins.brokers.reader import QueueReader
    from tests.brokers.harness_producer import Producer
    from tests.processes import Processes

MODULE = "tests.brokers.apps.queue_dramatiq"
HELD = 4  # two threads, and twice as many messages
CAUSE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@pytest.fixture
def lab(
    redis_url: str, managed_rabbitmq: Managed, processes: Processes, tmp_path: Path
) -> Iterator[Lab]:
    """An app whose actors wait for a file."""
    with redis_database(redis_url) as results, FaultyReceiver() as receiver:
        broker = Broker(
            system="rabbitmq", url=managed_rabbitmq.url, results_url=results, queue=queue_name()
        )
        lab = Lab(
            broker=broker,
            receiver=receiver,
            processes=processes,
            directory=tmp_path,
            environment={"GATE": str(tmp_path / "gate")},
        )
        yield lab
        lab.close()


@pytest.fixture
def app(lab: Lab) -> App:
    """Its queue is new."""
    return lab.module(MODULE)


@pytest.fixture
def sender(lab: Lab, app: App) -> Producer:
    """Somebody who sends."""
    return lab.producer(app)


@pytest.fixture
def reader(lab: Lab, app: App, managed_rabbitmq: Managed) -> Iterator[QueueReader]:
    """With the management API."""
    found = reader_of_url(
        lab.broker.url,
        "dramatiq",
        queues=[app.queue],
        management_url=managed_rabbitmq.management_url,
    )
    yield found
    found.close()


@pytest.fixture
def plain(lab: Lab, app: App) -> Iterator[QueueReader]:
    """Without the management API, of whose URL nothing is guessed."""
    found = reader_of_url(lab.broker.url, "dramatiq", queues=[app.queue])
    yield found
    found.close()


def test_every_state_is_exact_and_looking_changes_nothing(
    lab: Lab,
    sender: Producer,
    reader: QueueReader,
    plain: QueueReader,
    app: App,
    managed_rabbitmq: Managed,
) -> None:
    """With the management API in every state; without it where AMQP tells."""
    lab.dramatiq(app, threads=2)
    sender.run("fail.send()")
    settle(reader, app.queue, dead=1, ready=0, delayed=0, unacked=0)
    sender.run(
        """
        for number in range(12): wait.send(number)
        for _ in range(4): add.send_with_options(args=(1, 2), delay=300_000)
        """
    )
    row = settle(reader, app.queue, ready=12 - HELD, unacked=HELD, delayed=4, dead=1, consumers=1)
    assert row["oldest_age_s"] is None
    row = settle(plain, app.queue, ready=12 - HELD, dead=1, consumers=1)
    assert row["unacked"] is row["delayed"] is row["oldest_age_s"] is None
    assert "management API" in row["unknown"]["unacked"]
    before = rabbitmq_dump(managed_rabbitmq.management_url)
    for each in (reader, plain):
        look_everywhere(each, app.queue)
    assert rabbitmq_dump(managed_rabbitmq.management_url) == before
    assert app.queue in reader.names(search=True)
    assert f"{app.queue}.DQ" not in reader.names(search=True)
    (lab.directory / "gate").touch()
    row = settle(reader, app.queue, ready=0, unacked=0, delayed=4)
    assert row["oldest_age_s"] == 0


def test_delayed_messages_are_exact_without_the_api_while_no_worker_holds_them(
    sender: Producer, plain: QueueReader, app: App
) -> None:
    """Made from the broker object; nothing is declared by it."""
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    sender.run(
        """
        for _ in range(3): add.send(1, 2)
        for _ in range(4): add.send_with_options(args=(1, 2), delay=300_000)
        """
    )
    row = settle(plain, app.queue, ready=3, delayed=4, dead=0, consumers=0)
    assert row["unacked"] is None
    broker = RabbitmqBroker(url=sender_url(plain))
    broker.declare_queue(app.queue)
    broker.declare_queue(f"{app.queue}-never")
    of_broker = reader_of_dramatiq(broker)
    assert set(of_broker.names()) == {app.queue, f"{app.queue}-never"}
    assert numbers(of_broker, app.queue)["ready"] == 3
    missing = numbers(of_broker, f"{app.queue}-never")
    assert missing["ready"] is None
    assert missing["unknown"]["ready"] == "there is no such queue on the broker"
    of_broker.close()


def sender_url(reader: QueueReader) -> str:
    """The URL of the server, with the user that everybody has."""
    return reader.source.url.replace("amqp://", "amqp://guest:guest@")


def test_requeued_dead_letters_run_again_in_their_trace_with_all_attempts(
    lab: Lab, sender: Producer, plain: QueueReader, app: App
) -> None:
    """Oldest first, once each, and no more than there were at the start."""
    lab.dramatiq(app, threads=1)
    sent = sender.run("result = [fail.send().message_id for _ in range(3)]")
    settle(plain, app.queue, dead=3, ready=0)
    assert plain.plan_requeue(app.queue).matched == 3
    change = plain.requeue(app.queue, cause=CAUSE)
    assert (change.matched, change.done, change.left) == (3, 3, {})
    settle(plain, app.queue, dead=3, ready=0)
    spans = lab.receiver.expect_trace(sent.trace_id, 3 + 2 * 3 * 3)
    runs = [span for span in spans if span.name == "process fail"]
    attempts = sorted(span.attributes["taskqueue.task.attempt"] for span in runs)
    assert attempts == sorted([1, 2, 3] * 6)
    linked = [span for span in runs if any(link.span_id == f"{0xDEF:016x}" for link in span.links)]
    assert len(linked) == 3
    (lab.directory / "gate").touch()
    assert plain.requeue(app.queue).done == 3
    settle(plain, app.queue, dead=0, ready=0)


def test_chosen_dead_letters_are_put_back_and_the_others_stay_in_order(
    lab: Lab, sender: Producer, reader: QueueReader, plain: QueueReader, app: App
) -> None:
    """Where the management API tells that a look costs nothing; refused where it does not."""
    lab.dramatiq(app, threads=1)
    sent = sender.run("result = [fail.send().message_id for _ in range(4)]").result
    settle(reader, app.queue, dead=4, unacked=0)
    lab.close()
    first = [message.id for message in reader.peek(app.queue, "dead", disturb=True)]
    assert sorted(first) == sorted(sent)
    with pytest.raises(RefusedError, match="only the management API tells"):
        plain.requeue(app.queue, Selection(id=sent[1]))
    change = reader.requeue(app.queue, Selection(id=sent[1]))
    assert (change.matched, change.done) == (1, 1)
    left = [message.id for message in reader.peek(app.queue, "dead", disturb=True)]
    assert left == [identity for identity in first if identity != sent[1]]
    (again,) = reader.peek(app.queue, disturb=True)
    assert (again.id, again.attempt, again.task) == (sent[1], 1, "fail")


def test_looking_at_messages_is_refused_unless_it_is_asked_for(
    sender: Producer, reader: QueueReader, plain: QueueReader, app: App
) -> None:
    """It says what it does; then it shows ten at most, and they are all there afterwards."""
    sender.run("for number in range(15): add.send(number, 0)")
    settle(reader, app.queue, ready=15)
    for refused in (reader, plain):
        with pytest.raises(RefusedError, match="marks them as redelivered"):
            refused.peek(app.queue)
    with pytest.raises(RefusedError, match="only the management API tells"):
        plain.peek(app.queue, disturb=True)
    seen = reader.peek(app.queue, limit=50, disturb=True)
    assert [message.arguments["args"] for message in seen] == [[n, 0] for n in range(10)]
    settle(reader, app.queue, ready=15, unacked=0)
    again = reader.peek(app.queue, limit=1, disturb=True)
    assert again[0].id == seen[0].id
    assert again[0].redelivered
    found = reader.find(seen[3].id[:9], queues=[app.queue], disturb=True)
    assert [message.id for message in found.messages] == [seen[3].id]
    assert f"{app.queue}, unacked" in found.unseen
    assert reader.find(seen[3].id, queues=[app.queue]).messages == ()


def test_purges(lab: Lab, sender: Producer, reader: QueueReader, app: App) -> None:
    """Whole states only; delayed ones only while no worker has them; nothing is kept."""
    sender.run(
        """
        for number in range(5): add.send(number, 0)
        for _ in range(2): add.send_with_options(args=(1, 2), delay=300_000)
        """
    )
    settle(reader, app.queue, ready=5, delayed=2)
    plan = reader.plan_purge(app.queue)
    assert (plan.matched, plan.stays) == (5, "what workers hold will run all the same")
    with pytest.raises(RefusedError, match="needs a look at them"):
        reader.purge(app.queue, "ready", Selection(task="add"))
    assert reader.purge(app.queue).done == 5
    settle(reader, app.queue, ready=0, delayed=2)
    with pytest.raises(RefusedError, match="keeps nothing"):
        reader.undo(app.queue)
    lab.dramatiq(app, threads=1)
    settle(reader, app.queue, consumers=1)
    refused = until(lambda: _refusal(reader, app.queue, "delayed"), lambda: "workers hold them")
    assert "stop them first" in refused
    lab.close()
    sender = lab.producer(app)
    settle(reader, app.queue, consumers=0, delayed=2, unacked=0)
    until(lambda: _refusal(reader, app.queue, "delayed") is None, lambda: "nobody holds them")
    assert reader.purge(app.queue, "delayed").done == 2
    settle(reader, app.queue, delayed=0)


def _refusal(reader: QueueReader, queue: str, state: Any) -> str | None:
    try:
        reader.plan_purge(queue, state)
    except RefusedError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("limit", "allowed"), [(3, False), (20, True)])
def test_a_look_never_ends_a_message_of_a_quorum_queue(
    lab: Lab, managed_rabbitmq: Managed, *, limit: int, allowed: bool
) -> None:
    """Refused with a low limit, and from half of a high one on; every message survives."""
    queue = f"{lab.broker.queue}-quorum-{limit}"
    connection = pika.BlockingConnection(pika.URLParameters(managed_rabbitmq.url))
    channel = connection.channel()
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": limit}
    for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
        channel.queue_declare(name, durable=True, arguments=arguments)
    for number in range(2):
        channel.basic_publish("", queue, str(number).encode())
    reader = reader_of_url(
        managed_rabbitmq.url, "dramatiq", management_url=managed_rabbitmq.management_url
    )
    seen = [bool(_peeked(reader, queue)) for _ in range(14)]
    assert seen == ([True] * 10 + [False] * 4 if allowed else [False] * 14)
    settle(reader, queue, ready=2, unacked=0)
    taken = [channel.basic_get(queue) for _ in range(2)]
    assert all(body is not None for _, _, body in taken)
    connection.close()
    reader.close()


def _peeked(reader: QueueReader, queue: str) -> list[Any]:
    try:
        return reader.peek(queue, disturb=True)
    except RefusedError as error:
        assert "deliver" in str(error)  # noqa: PT017 - a refusal is one of two good answers
        return []


def test_the_age_is_that_of_the_time_stamp_where_senders_set_one(
    lab: Lab, managed_rabbitmq: Managed
) -> None:
    """Of an empty queue it is 0, whatever RabbitMQ still shows."""
    queue = f"{lab.broker.queue}-stamped"
    connection = pika.BlockingConnection(pika.URLParameters(managed_rabbitmq.url))
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    sent_at = int(time.time()) - 100
    channel.basic_publish("", queue, b"{}", pika.BasicProperties(timestamp=sent_at))
    reader = reader_of_url(
        managed_rabbitmq.url,
        "dramatiq",
        management_url=managed_rabbitmq.management_url,
        clock=lambda: float(sent_at + 100),
    )
    settle(reader, queue, oldest_age_s=100.0)
    channel.queue_purge(queue)
    settle(reader, queue, oldest_age_s=0.0, ready=0)
    connection.close()
    reader.close()


def test_an_api_that_does_not_answer_leaves_out_what_only_it_tells(
    lab: Lab, sender: Producer, app: App, managed_rabbitmq: Managed
) -> None:
    """The rest is as exact as before, and the reason has no password."""
    management(managed_rabbitmq.management_url, "users/nobody", {"password": "x", "tags": ""})
    sender.run("add.send(1, 2)")
    api = managed_rabbitmq.management_url
    for url, reason in (
        (api.replace("http://", "http://nobody:sesame@"), "needs the tag `management`"),
        ("http://guest:sesame@127.0.0.1:1", "refused"),
    ):
        reader = reader_of_url(lab.broker.url, "dramatiq", management_url=url)
        row = settle(reader, app.queue, ready=1, dead=0, consumers=0)
        assert reason in row["unknown"]["unacked"]
        assert "sesame" not in str(row)
        reader.close()


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_a_user_without_any_permission_sees_the_numbers_and_changes_nothing(
    lab: Lab, sender: Producer, app: App, managed_rabbitmq: Managed, framework: str
) -> None:
    """Who only reports needs no more; what needs a permission is an error that says so."""
    api = managed_rabbitmq.management_url
    management(api, "users/watcher", {"password": "sesame", "tags": "management"})
    nothing = {"configure": "^$", "write": "^$", "read": "^$"}
    management(api, "permissions/%2F/watcher", nothing)
    sender.run("for _ in range(3): add.send(1, 2)")
    url = lab.broker.url.replace("guest:guest", "watcher:sesame")
    reader = reader_of_url(url, framework, queues=[app.queue], management_url=api)
    settle(reader, app.queue, ready=3, unacked=0, consumers=0)
    for refused in (lambda: reader.purge(app.queue), lambda: reader.peek(app.queue, disturb=True)):
        with pytest.raises(BrokerError, match="ACCESS_REFUSED") as raised:
            refused()
        assert "sesame" not in str(raised.value)
    settle(reader, app.queue, ready=3, unacked=0)
    reader.close()
