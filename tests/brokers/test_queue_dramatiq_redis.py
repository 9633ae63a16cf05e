"""Dramatiq's queues on a real Redis: every number against what was sent, held and left behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.opening import reader_of_dramatiq, reader_of_url
from otel_queue_plugins.brokers.selection import Selection
from tests.brokers.harness import App, Lab
from tests.brokers.queues import look_everywhere, numbers, redis_dump, settle, until
from tests.receiver import FaultyReceiver
from tests.services import Broker, queue_name, redis_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_queue_plugins.brokers.reader import QueueReader
    from tests.brokers.harness_producer import Producer
    from tests.processes import Processes

MODULE = "tests.brokers.apps.queue_dramatiq"
NAMESPACE = "the shop"
HELD = 4  # two threads, and twice as many messages
CAUSE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@pytest.fixture
def lab(redis_url: str, processes: Processes, tmp_path: Path) -> Iterator[Lab]:
    """An app with a namespace, whose actors wait for a file."""
    with redis_database(redis_url) as url, FaultyReceiver() as receiver:
        broker = Broker(system="redis", url=url, results_url=url, queue=queue_name())
        lab = Lab(
            broker=broker,
            receiver=receiver,
            processes=processes,
            directory=tmp_path,
            environment={"GATE": str(tmp_path / "gate"), "NAMESPACE": NAMESPACE},
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
def reader(lab: Lab, app: App) -> Iterator[QueueReader]:
    """Made from a URL; nothing of the app is imported."""
    found = reader_of_url(lab.broker.url, "dramatiq", queues=[app.queue], namespace=NAMESPACE)
    yield found
    found.close()


def test_every_state_is_exact_and_looking_changes_nothing(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """Ready, delayed, held by workers and dead, each with its messages."""
    lab.dramatiq(app, threads=2)
    sender.run("fail.send()")
    settle(reader, app.queue, dead=1, ready=0, delayed=0, unacked=0)
    sender.run(
        """
        for number in range(12): wait.send(number)
        for _ in range(4): add.send_with_options(args=(1, 2), delay=300_000)
        """
    )
    row = settle(reader, app.queue, ready=12 - HELD, unacked=HELD, delayed=4, dead=1)
    assert row["consumers"] is None
    client = redis.Redis.from_url(lab.broker.url)
    until(lambda: not client.llen(f"{NAMESPACE}:{app.queue}.DQ"), lambda: "all are fetched")
    client.close()
    before = redis_dump(lab.broker.url, without="__heartbeats__")
    look_everywhere(reader, app.queue)
    assert redis_dump(lab.broker.url, without="__heartbeats__") == before
    states = {"ready": 12 - HELD, "delayed": 4, "unacked": HELD, "dead": 1}
    for state, count in states.items():
        found = reader.peek(app.queue, state)  # type: ignore[arg-type]
        assert [each.state for each in found] == [state] * count
        for each in found:
            assert reader.find(each.id[:20], queues=[app.queue]).messages == (each,)
    oldest = reader.peek(app.queue)[0]
    assert oldest.arguments["args"] == [HELD]
    assert oldest.enqueued_at is not None
    started = time.time()
    row = numbers(reader, app.queue)
    assert started - 0.01 < oldest.enqueued_at + row["oldest_age_s"] < time.time() + 0.01
    (dead,) = reader.peek(app.queue, "dead")
    assert (dead.task, dead.attempt, dead.max_attempts) == ("fail", 3, None)
    assert dead.died_at is not None
    assert abs(time.time() - dead.died_at) < 600


def test_a_broker_gives_the_same_numbers_and_writes_no_heartbeat(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """Its own client would make a worker of who looks."""
    from dramatiq.brokers.redis import RedisBroker

    sender.run("for _ in range(3): add.send(1, 2)")
    broker = RedisBroker(url=lab.broker.url, namespace=NAMESPACE)
    broker.declare_queue(app.queue)
    of_broker = reader_of_dramatiq(broker)
    assert of_broker.names() == {app.queue: "declared"}
    before = redis_dump(lab.broker.url)
    look_everywhere(of_broker, app.queue)
    assert redis_dump(lab.broker.url) == before
    assert numbers(of_broker, app.queue)["ready"] == 3
    assert reader.names(search=True) == {app.queue: "named"}
    of_broker.close()


def test_what_a_killed_worker_held_is_abandoned(lab: Lab, sender: Producer, app: App) -> None:
    """Once it is silent for longer than the heartbeat timeout; delayed messages as well."""
    worker = lab.dramatiq(app, threads=2)
    now = time.time()
    reader = reader_of_url(
        lab.broker.url, "dramatiq", namespace=NAMESPACE, clock=lambda: now, queues=[app.queue]
    )
    sender.run(
        """
        for number in range(8): wait.send(number)
        for _ in range(2): add.send_with_options(args=(1, 2), delay=300_000)
        """
    )
    settle(reader, app.queue, ready=8 - HELD, unacked=HELD, delayed=2)
    until(lambda: reader.plan_purge(app.queue, "delayed").stays, lambda: "the delayed are fetched")
    worker.kill()
    (state,) = reader.states([app.queue])
    assert state.abandoned == 0
    now = time.time() + 61
    (state,) = reader.states([app.queue])
    assert (state.abandoned, state.unacked, state.delayed) == (HELD + 2, HELD, 2)
    reader.close()


def test_requeued_dead_letters_run_again_in_their_trace_with_all_attempts(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """Oldest first, once each, and linked to the operation that put them back."""
    lab.dramatiq(app, threads=1)
    sent = sender.run("result = [fail.send().message_id for _ in range(3)]")
    settle(reader, app.queue, dead=3, unacked=0)
    assert reader.plan_requeue(app.queue).matched == 3
    moved: list[str] = []
    change = reader.requeue(app.queue, cause=CAUSE, moved=lambda message: moved.append(message.id))
    assert (change.matched, change.done, change.left) == (3, 3, {})
    assert sorted(moved) == sorted(sent.result)
    settle(reader, app.queue, dead=3, unacked=0, ready=0)
    spans = lab.receiver.expect_trace(sent.trace_id, 3 + 2 * 3 * 3)
    runs = [span for span in spans if span.name == "process fail"]
    assert sorted(span.attributes["taskqueue.task.attempt"] for span in runs) == [1, 2, 3] * 2 or (
        sorted(span.attributes["taskqueue.task.attempt"] for span in runs) == sorted([1, 2, 3] * 6)
    )
    linked = [span for span in runs if any(link.span_id == f"{0xDEF:016x}" for link in span.links)]
    assert len(linked) == 3
    (lab.directory / "gate").touch()
    assert reader.requeue(app.queue, Selection(id=sent.result[0])).done == 1
    settle(reader, app.queue, dead=2, unacked=0, ready=0)
    assert reader.requeue(app.queue).done == 2
    settle(reader, app.queue, dead=0, unacked=0, ready=0)


def test_two_who_requeue_at_once_put_each_message_back_once(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """A dead letter that is gone meanwhile is left, and said so."""
    lab.dramatiq(app, threads=1)
    sender.run("fail.send()")
    settle(reader, app.queue, dead=1, unacked=0)
    lab.close()
    other = reader_of_url(lab.broker.url, "dramatiq", queues=[app.queue], namespace=NAMESPACE)
    (message,) = reader.peek(app.queue, "dead")
    assert other.requeue(app.queue).done == 1
    storage = reader._storage
    assert storage.put_back(message, time.time(), None) is False
    assert numbers(reader, app.queue)["ready"] == 1
    (again,) = reader.peek(app.queue)
    assert again.attempt == 1
    assert again.creation == message.creation
    assert "traceback" not in again.headers
    other.close()


def test_purged_messages_can_be_brought_back(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """Ready ones and delayed ones, in their order, the next ones out; nothing is left aside."""
    sender.run(
        """
        for number in range(1500): add.send(number, 0)
        for number in range(3): add.send_with_options(args=(number, 1), delay=300_000)
        """
    )
    client = redis.Redis.from_url(lab.broker.url)
    ids = client.lrange(f"{NAMESPACE}:{app.queue}", 0, -1)
    bodies = client.hgetall(f"{NAMESPACE}:{app.queue}.msgs")
    assert reader.plan_purge(app.queue).matched == 1500
    assert reader.purge(app.queue).done == 1500
    assert numbers(reader, app.queue)["ready"] == 0
    assert not client.exists(f"{NAMESPACE}:{app.queue}.msgs")
    sender.run("add.send(2000, 0)")
    assert reader.undo(app.queue).done == 1500
    again = client.lrange(f"{NAMESPACE}:{app.queue}", 0, -1)
    assert again[:1500] == ids
    found = client.hgetall(f"{NAMESPACE}:{app.queue}.msgs")
    assert {key: found[key] for key in bodies} == bodies
    assert len(found) == 1501
    assert reader.purge(app.queue, "delayed").done == 3
    assert numbers(reader, app.queue)["delayed"] == 0
    undone = reader.undo(app.queue)
    assert (undone.state, undone.done) == ("delayed", 3)
    assert not list(client.scan_iter("otq:*"))
    with pytest.raises(RefusedError, match="no purge"):
        reader.undo(app.queue)


def test_a_purge_leaves_what_workers_hold(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """And dead letters: all of what is held runs, and none of what was taken away."""
    worker = lab.dramatiq(app, threads=2)
    sender.run("fail.send()")
    settle(reader, app.queue, dead=1, unacked=0)
    sender.run(
        """
        for number in range(12): wait.send(number)
        for _ in range(2): add.send_with_options(args=(1, 2), delay=300_000)
        """
    )
    settle(reader, app.queue, ready=12 - HELD, unacked=HELD, delayed=2)
    plan = reader.plan_purge(app.queue)
    assert plan.matched == 12 - HELD
    assert plan.stays == f"{HELD} that workers hold will run all the same"
    assert reader.purge(app.queue).done == 12 - HELD
    stays = "2 that workers hold will run at their time"
    until(lambda: reader.plan_purge(app.queue, "delayed").stays == stays, lambda: stays)
    assert reader.plan_purge(app.queue, "delayed").matched == 0
    with pytest.raises(RefusedError, match="would lose what fails"):
        reader.purge(app.queue, "unacked")
    (lab.directory / "gate").touch()
    settle(reader, app.queue, ready=0, unacked=0, dead=1, delayed=2)
    assert worker.returncode is None
    assert reader.purge(app.queue, "dead").done == 1
    assert numbers(reader, app.queue)["dead"] == 0
    assert reader.undo(app.queue).state == "dead"
    (dead,) = reader.peek(app.queue, "dead")
    assert dead.died_at is not None


def test_chosen_messages_are_purged_and_no_others(
    sender: Producer, reader: QueueReader, app: App
) -> None:
    """By task, and they can be brought back."""
    sender.run("for number in range(250): (add if number % 2 else wait).send(number)")
    chosen = Selection(task="add")
    assert reader.plan_purge(app.queue, "ready", chosen).matched == 125
    assert reader.purge(app.queue, "ready", chosen).done == 125
    assert {each.task for each in reader.peek(app.queue, limit=500)} == {"wait"}
    assert reader.undo(app.queue).done == 125
    assert numbers(reader, app.queue)["ready"] == 250


def test_bodies_of_another_encoder_are_never_opened(
    lab: Lab, reader: QueueReader, app: App
) -> None:
    """Counted and shown by their size; not put back, with the reason."""
    client = redis.Redis.from_url(lab.broker.url)
    client.zadd(f"{NAMESPACE}:{app.queue}.XQ", {"one": 1000.0})
    client.hset(f"{NAMESPACE}:{app.queue}.XQ.msgs", "one", b"\x80\x05cos\nsystem\n.")
    (dead,) = reader.peek(app.queue, "dead")
    assert (dead.id, dead.task, dead.size_bytes) == ("", "", 14)
    change = reader.requeue(app.queue)
    assert (change.matched, change.done) == (1, 0)
    assert list(change.left) == ["it is not JSON; messages of other encoders are not opened"]
    assert numbers(reader, app.queue)["dead"] == 1
