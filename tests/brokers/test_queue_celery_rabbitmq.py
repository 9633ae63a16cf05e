"""Celery's queues on a real RabbitMQ, with its management API and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from kombu import Exchange, Queue
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.opening import reader_of_celery, reader_of_url
from otel_queue_plugins.brokers.selection import Selection
from tests.brokers.harness import App, Lab
from tests.brokers.queues import (
    look_everywhere,
    management,
    numbers,
    rabbitmq_dump,
    settle,
)
from tests.receiver import FaultyReceiver
from tests.services import Broker, Managed, queue_name, redis_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_queue_plugins.brokers.reader import QueueReader
    from tests.brokers.harness_producer import Producer
    from tests.processes import Processes

MODULE = "tests.brokers.apps.queue_celery"
HELD = 8  # two children, four prefetched for each
CAUSE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@pytest.fixture
def lab(
    redis_url: str, managed_rabbitmq: Managed, processes: Processes, tmp_path: Path
) -> Iterator[Lab]:
    """An app whose tasks wait for a file, with a dead-letter queue."""
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
    """Somebody who sends; the queues are there."""
    sender = lab.producer(app)
    sender.run("declare()")
    return sender


def own_app(lab: Lab, app: App, *others: str) -> Celery:
    """The same app as its workers have; `others` are queues with the same dead-letter queue."""
    own = Celery("reading", broker=lab.broker.url, set_as_current=False)
    letters, dead = Exchange(f"{app.queue}.letters"), f"{app.queue}.dead"
    arguments = {"x-dead-letter-exchange": letters.name, "x-dead-letter-routing-key": dead}
    own.conf.task_queues = [
        *(
            Queue(name, Exchange(name), routing_key=name, queue_arguments=arguments)
            for name in (app.queue, *others)
        ),
        Queue(dead, letters, routing_key=dead),
    ]
    return own


@pytest.fixture
def reader(lab: Lab, app: App, managed_rabbitmq: Managed) -> Iterator[QueueReader]:
    """Of a URL, with the management API."""
    found = reader_of_url(
        lab.broker.url,
        "celery",
        queues=[app.queue],
        management_url=managed_rabbitmq.management_url,
    )
    yield found
    found.close()


@pytest.fixture
def plain(lab: Lab, app: App) -> Iterator[QueueReader]:
    """Of an app, without the management API."""
    found = reader_of_celery(own_app(lab, app))
    yield found
    found.close()


def test_every_number_that_the_broker_has_is_exact_and_looking_changes_nothing(
    lab: Lab,
    sender: Producer,
    reader: QueueReader,
    plain: QueueReader,
    app: App,
    managed_rabbitmq: Managed,
) -> None:
    """What is held comes from the management API alone; dead letters from the app, or from it."""
    lab.celery(app, concurrency=2, arguments=["-Q", app.queue])
    sender.run("for _ in range(3): refuse.delay()")
    settle(reader, app.queue, ready=0, unacked=0, dead=3, consumers=1)
    sender.run("for number in range(20): wait.delay(number)")
    row = settle(reader, app.queue, ready=20 - HELD, unacked=HELD, dead=3, consumers=1)
    assert row["delayed"] is None
    assert "SCHEDULED" in row["unknown"]["delayed"]
    row = settle(plain, app.queue, ready=20 - HELD, dead=3, consumers=1)
    assert row["unacked"] is row["oldest_age_s"] is None
    before = rabbitmq_dump(managed_rabbitmq.management_url)
    for each in (reader, plain):
        look_everywhere(each, app.queue)
    assert rabbitmq_dump(managed_rabbitmq.management_url) == before
    names = reader.names(search=True)
    assert names[app.queue] == "named"
    assert names[f"{app.queue}.dead"] == "found"
    assert not [name for name in names if "pidbox" in name or "celeryev" in name]
    assert plain.names() == {app.queue: "configured", f"{app.queue}.dead": "configured"}
    sender.run("for _ in range(5): add.apply_async((1, 2), countdown=300)")
    (lab.directory / "gate").touch()
    row = settle(reader, app.queue, ready=0, unacked=5, dead=3)
    assert row["oldest_age_s"] == 0


def test_requeued_dead_letters_run_again_in_their_trace(
    lab: Lab, sender: Producer, plain: QueueReader, app: App
) -> None:
    """With no attempt behind them, linked to what put them back; what dies again stays dead."""
    lab.celery(app, concurrency=1, pool="solo", arguments=["-Q", app.queue])
    sent = sender.run("result = [refuse.delay().id for _ in range(3)]")
    settle(plain, app.queue, dead=3, ready=0)
    assert plain.plan_requeue(app.queue).matched == 3
    moved: list[str] = []
    change = plain.requeue(app.queue, cause=CAUSE, moved=lambda message: moved.append(message.id))
    assert (change.matched, change.done, change.left) == (3, 3, {})
    assert sorted(moved) == sorted(sent.result)
    settle(plain, app.queue, dead=3, ready=0)
    spans = lab.receiver.expect_trace(sent.trace_id, 3 + 2 * 3)
    runs = [span for span in spans if span.name == "process refuse"]
    assert [span.attributes["taskqueue.task.attempt"] for span in runs] == [1] * 6
    linked = [span for span in runs if any(link.span_id == f"{0xDEF:016x}" for link in span.links)]
    assert len(linked) == 3
    (lab.directory / "gate").touch()
    assert plain.requeue(app.queue).done == 3
    settle(plain, app.queue, dead=0, ready=0)


def test_two_queues_may_share_one_for_their_dead_letters(
    lab: Lab, sender: Producer, app: App, managed_rabbitmq: Managed
) -> None:
    """How many belong to whom is not known; each is put back where it died all the same."""
    other = f"{app.queue}-other"
    own = own_app(lab, app, other)
    lab.celery(app, concurrency=1, pool="solo", arguments=["-Q", f"{app.queue},{other}"])
    sender.run(f"for queue in (QUEUE, {other!r}, QUEUE): refuse.apply_async(queue=queue)")
    reader = reader_of_celery(own, management_url=managed_rabbitmq.management_url)
    settle(reader, f"{app.queue}.dead", ready=3, unacked=0)
    lab.close()
    row = numbers(reader, app.queue)
    assert row["dead"] is None
    assert row["unknown"]["dead"] == f"{app.queue}.dead has dead letters of 2 queues"
    with pytest.raises(RefusedError, match="has dead letters of 2 queues"):
        reader.purge(app.queue, "dead")
    change = reader.requeue(other)
    assert (change.matched, change.done) == (1, 1)
    settle(reader, other, ready=1)
    settle(reader, f"{app.queue}.dead", ready=2, unacked=0)
    without = reader_of_celery(own)
    with pytest.raises(RefusedError, match="only the management API tells"):
        without.requeue(app.queue)
    without.close()
    assert reader.requeue(app.queue).done == 2
    settle(reader, app.queue, ready=2)
    reader.close()


def test_a_policy_may_be_what_sends_dead_letters_away(
    app: App, managed_rabbitmq: Managed, lab: Lab
) -> None:
    """Found by the management API; without it the number is unknown, not 0."""
    queue, dead = f"{app.queue}-policy", f"{app.queue}-policy-dead"
    own = Celery("reading", broker=lab.broker.url, set_as_current=False)
    own.conf.task_queues = [Queue(queue, Exchange(queue), routing_key=queue)]
    with own.connection_for_write() as connection:
        for name in (queue, dead):
            Queue(name, Exchange(name), routing_key=name)(connection.default_channel).declare()
        channel = connection.default_channel
        policy = {
            "pattern": f"^{queue}$",
            "definition": {"dead-letter-exchange": dead, "dead-letter-routing-key": dead},
        }
        management(managed_rabbitmq.management_url, f"policies/%2F/{queue}", policy)
        without = reader_of_celery(own)
        row = numbers(without, queue)
        assert row["dead"] is None
        assert "whether a policy does" in row["unknown"]["dead"]
        reader = reader_of_celery(own, management_url=managed_rabbitmq.management_url)
        settle(reader, queue, dead=0)
        own.send_task("gone", queue=queue, connection=connection)
        settle(reader, queue, ready=1)
        channel.basic_reject(channel.basic_get(queue).delivery_info["delivery_tag"], requeue=False)
        settle(reader, queue, ready=0, dead=1)
    for each in (without, reader):
        each.close()


def test_messages_are_shown_when_it_is_asked_for(
    sender: Producer, reader: QueueReader, plain: QueueReader, app: App
) -> None:
    """In their order, with their trace; and all of them are there afterwards."""
    sent = sender.run("result = [add.delay(number, 0).id for number in range(4)]")
    settle(reader, app.queue, ready=4)
    with pytest.raises(RefusedError, match="marks them as redelivered"):
        reader.peek(app.queue)
    for _ in range(2):
        seen = reader.peek(app.queue, limit=3, disturb=True)
        assert [message.id for message in seen] == sent.result[:3]
    assert seen[0].creation is not None
    assert f"{seen[0].creation.trace_id:032x}" == sent.trace_id
    assert seen[0].redelivered
    assert (seen[0].task, seen[0].attempt, seen[0].max_attempts) == ("add", 1, None)
    with pytest.raises(RefusedError, match="only the management API tells"):
        plain.peek(app.queue, disturb=True)
    found = reader.find(sent.result[2][:10], queues=[app.queue], disturb=True)
    assert [message.id for message in found.messages] == [sent.result[2]]
    assert set(found.unseen) == {f"{app.queue}, {state}" for state in ("delayed", "unacked")}
    settle(reader, app.queue, ready=4, unacked=0)


def test_purges(sender: Producer, reader: QueueReader, plain: QueueReader, app: App) -> None:
    """Whole states only, and what stays is said."""
    sender.run("for number in range(4): add.delay(number, 0)")
    settle(reader, app.queue, ready=4)
    plan = reader.plan_purge(app.queue)
    assert plan.matched == 4
    assert plan.stays == "what workers hold, tasks with an ETA among it, will run all the same"
    states: tuple[Any, ...] = ("delayed", "unacked")
    for state in states:
        with pytest.raises(RefusedError):
            reader.purge(app.queue, state)
    with pytest.raises(RefusedError, match="needs a look at them"):
        reader.purge(app.queue, "ready", Selection(task="add"))
    assert plain.purge(app.queue).done == 4
    settle(reader, app.queue, ready=0)
    with pytest.raises(RefusedError, match="there is no queue"):
        plain.purge(f"{app.queue}-missing")


def test_a_missing_queue_is_not_made_by_asking(
    sender: Producer, reader: QueueReader, app: App, managed_rabbitmq: Managed
) -> None:
    """Its numbers are unknown, and those of others are not harmed."""
    sender.run("add.delay(1, 2)")
    settle(reader, app.queue, ready=1)
    missing, there = reader.states([f"{app.queue}-missing", app.queue])
    assert missing.ready is None
    assert there.ready == 1
    api = managed_rabbitmq.management_url
    assert f"{app.queue}-missing" not in str(management(api, "queues"))


def test_the_next_server_of_a_url_is_used_where_the_first_is_down(
    lab: Lab, sender: Producer, app: App
) -> None:
    """As the app does it."""
    sender.run("add.delay(1, 2)")
    urls = f"amqp://guest:guest@127.0.0.1:1//;{lab.broker.url}"
    for _ in range(2):
        reader = reader_of_url(urls, "celery", queues=[app.queue])
        settle(reader, app.queue, ready=1)
        reader.close()
