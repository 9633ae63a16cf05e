"""Celery's queues on a real Redis: every number against what was sent, held and left behind."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.opening import reader_of_celery, reader_of_url
from otel_queue_plugins.brokers.selection import Selection
from tests.brokers.harness import App, Lab
from tests.brokers.queues import look_everywhere, numbers, redis_dump, settle
from tests.receiver import FaultyReceiver
from tests.services import Broker, queue_name, redis_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_queue_plugins.brokers.reader import QueueReader
    from tests.brokers.harness_producer import Producer
    from tests.processes import Processes

MODULE = "tests.brokers.apps.queue_celery"
PREFIX = "the shop:"
HELD = 8  # two children, four prefetched for each


@pytest.fixture
def lab(redis_url: str, processes: Processes, tmp_path: Path) -> Iterator[Lab]:
    """An app with a key prefix, whose tasks wait for a file."""
    with redis_database(redis_url) as url, FaultyReceiver() as receiver:
        broker = Broker(system="redis", url=url, results_url=url, queue=queue_name())
        options = {"global_keyprefix": PREFIX, "visibility_timeout": 3600}
        lab = Lab(
            broker=broker,
            receiver=receiver,
            processes=processes,
            directory=tmp_path,
            environment={
                "GATE": str(tmp_path / "gate"),
                "TRANSPORT_OPTIONS": json.dumps(options),
            },
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
    found = reader_of_url(lab.broker.url, "celery", queues=[app.queue], key_prefix=PREFIX)
    yield found
    found.close()


def test_ready_messages_are_counted_in_all_priorities(
    sender: Producer, reader: QueueReader, app: App
) -> None:
    """Under a key prefix, with tasks that wait for their time; the oldest one is the age."""
    code = """
    first = add.apply_async((1, 2), priority=9).id
    for priority in (0, 3, 5, 9, None):
        add.apply_async((1, 2), priority=priority)
    add.apply_async((1, 2), countdown=300)
    result = first
    """
    first = sender.run(code).result
    before = time.time()
    row = numbers(reader, app.queue)
    after = time.time()
    assert (row["ready"], row["delayed"], row["unacked"]) == (7, 0, 0)
    assert row["dead"] is row["consumers"] is None
    oldest, *others = reader.peek(app.queue)
    assert oldest.id == first
    assert len(others) == 6
    assert oldest.enqueued_at is not None
    assert before - 0.01 < oldest.enqueued_at + row["oldest_age_s"] < after + 0.01


def test_an_app_gives_the_same_numbers(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """Names, prefix and options are the app's own."""
    from celery import Celery

    sender.run("add.delay(1, 2)")
    own = Celery("reading", broker=lab.broker.url, set_as_current=False)
    own.conf.update(
        task_default_queue=app.queue, broker_transport_options={"global_keyprefix": PREFIX}
    )
    of_app = reader_of_celery(own)
    assert of_app.names() == {app.queue: "configured"}
    assert numbers(of_app, app.queue)["ready"] == numbers(reader, app.queue)["ready"] == 1
    assert of_app.source.url == lab.broker.url
    of_app.close()


def test_what_workers_hold_is_told_from_what_waits_for_its_time(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """Exact by queue; nothing of it is a change on the broker."""
    lab.celery(app, concurrency=2)
    sender.run("for number in range(20): wait.delay(number)")
    row = settle(reader, app.queue, ready=20 - HELD, unacked=HELD, delayed=0)
    sender.run("for _ in range(5): add.apply_async((1, 2), countdown=300)")
    row = settle(reader, app.queue, ready=20 + 5 - HELD, unacked=HELD)
    before = redis_dump(lab.broker.url)
    look_everywhere(reader, app.queue)
    assert redis_dump(lab.broker.url) == before
    (lab.directory / "gate").touch()
    row = settle(reader, app.queue, ready=0, unacked=0, delayed=5)
    assert row["oldest_age_s"] == 0
    held = reader.peek(app.queue, "delayed")
    assert {each.task for each in held} == {"add"}
    assert all(each.eta and each.eta > time.time() and each.creation for each in held)
    assert reader.peek(app.queue, "unacked") == []


def test_two_queues_of_one_database_are_told_apart(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """By what each message says of its routing."""
    other = lab.module(MODULE)
    others = lab.producer(other)
    for each in (app, other):
        lab.celery(each, concurrency=1)
    sender.run("for _ in range(3): wait.delay()")
    others.run("for _ in range(2): wait.delay()")
    settle(reader, app.queue, unacked=3)
    settle(reader, other.queue, unacked=2)
    assert {app.queue, other.queue} <= set(reader.names(search=True))
    assert not [name for name in reader.names(search=True) if "pidbox" in name]


def test_what_a_killed_worker_held_is_abandoned_after_half_the_visibility_timeout(
    lab: Lab, sender: Producer, app: App
) -> None:
    """It stays unacked on the broker, and nobody works on it."""
    worker = lab.celery(app, concurrency=2)
    now = time.time()
    reader = reader_of_url(
        lab.broker.url, "celery", key_prefix=PREFIX, clock=lambda: now, queues=[app.queue]
    )
    sender.run("for _ in range(8): wait.delay()")
    settle(reader, app.queue, unacked=HELD)
    worker.kill()
    (state,) = reader.states([app.queue])
    assert (state.unacked, state.abandoned) == (HELD, 0)
    now += 1801
    (state,) = reader.states([app.queue])
    assert (state.unacked, state.abandoned) == (HELD, HELD)
    assert state.oldest_unacked_age_s is not None
    assert 1795 < state.oldest_unacked_age_s < 1801
    reader.close()


def test_a_message_is_found_by_the_beginning_of_its_id_in_every_state(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """Ready, delayed or held; with its trace, without its arguments."""
    lab.celery(app, concurrency=1)
    sent = sender.run(
        """
        delayed = add.apply_async((1, 2), countdown=300).id
        held = [wait.delay().id for _ in range(4)]
        result = [delayed, held[0]]
        """
    )
    settle(reader, app.queue, unacked=4, delayed=1)
    ready = sender.run("result = [wait.delay(77).id for _ in range(9)][-1]").result
    settle(reader, app.queue, ready=9)
    delayed, held = sent.result
    for identity, state in ((delayed, "delayed"), (held, "unacked"), (ready, "ready")):
        (found,) = reader.find(identity[:13], queues=[app.queue]).messages
        assert (found.id, found.state, found.queue) == (identity, state, app.queue)
        assert found.creation is not None
        if state != "ready":
            assert f"{found.creation.trace_id:032x}" == sent.trace_id
        assert "argsrepr" not in found.headers
    assert found.arguments["args"] == "(77,)"


def test_a_purge_says_what_stays_and_can_be_undone(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """The same bytes are back, in the same order, and the next ones out."""
    sender.run("for number in range(7): add.apply_async((number, 0), priority=number)")
    client = redis.Redis.from_url(lab.broker.url)
    keys = [f"{PREFIX}{app.queue}{step}" for step in ("", "\x06\x163", "\x06\x166")]
    before = [client.lrange(key, 0, -1) for key in keys]
    plan = reader.plan_purge(app.queue)
    assert (plan.matched, plan.stays) == (7, None)
    assert reader.purge(app.queue).done == 7
    assert numbers(reader, app.queue)["ready"] == 0
    sender.run("add.delay(100, 0)")
    assert 0 < client.ttl(f"{PREFIX}otq:purged:{app.queue}") <= 3600
    assert reader.undo(app.queue).done == 7
    (newer, *rest), *others = [client.lrange(key, 0, -1) for key in keys]
    assert [rest, *others] == before
    assert b"(100, 0)" in newer
    assert not list(client.scan_iter(f"{PREFIX}otq:*"))
    with pytest.raises(RefusedError, match="no purge"):
        reader.undo(app.queue)


def test_chosen_messages_are_purged_and_no_others(
    sender: Producer, reader: QueueReader, app: App
) -> None:
    """Of hundreds, in all priorities; they can be brought back, too."""
    sender.run(
        """
        for number in range(250):
            task, count = (add, 2) if number % 2 else (wait, 1)
            task.apply_async((number,) * count, priority=number % 10)
        """
    )
    chosen = Selection(task="ad*")
    assert reader.plan_purge(app.queue, "ready", chosen).matched == 125
    assert reader.purge(app.queue, "ready", chosen).done == 125
    assert numbers(reader, app.queue)["ready"] == 125
    assert {each.task for each in reader.peek(app.queue, limit=500)} == {"wait"}
    assert reader.undo(app.queue).done == 125
    assert numbers(reader, app.queue)["ready"] == 250


def test_what_cannot_be_done_is_refused(sender: Producer, reader: QueueReader, app: App) -> None:
    """With the reason: there are no dead letters, and what is held cannot be taken back."""
    sender.run("add.delay(1, 2)")
    for refused in (reader.plan_requeue, reader.requeue):
        with pytest.raises(RefusedError, match="keeps no dead letters on Redis"):
            refused(app.queue)
    for state in ("unacked", "delayed"):
        with pytest.raises(RefusedError, match="revoke"):
            reader.purge(app.queue, state)  # type: ignore[arg-type]
    assert numbers(reader, app.queue)["ready"] == 1


def test_what_workers_hold_is_searched_up_to_a_bound(
    lab: Lab, reader: QueueReader, app: App
) -> None:
    """Beyond it only the whole is known, which is not the number of any queue."""
    client = redis.Redis.from_url(lab.broker.url)
    entry = json.dumps([{"headers": {}, "properties": {}, "body": ""}, "", app.queue])
    for part in range(2):
        tags = [f"{part}-{number}" for number in range(501)]
        client.hset(f"{PREFIX}unacked", mapping=dict.fromkeys(tags, entry))
        client.zadd(f"{PREFIX}unacked_index", dict.fromkeys(tags, time.time()))
        row: Any = numbers(reader, app.queue)
        if part == 0:
            assert row["unacked"] == 501
    assert row["unacked"] is row["delayed"] is None
    assert row["unknown"]["unacked"].startswith("1,002 messages of all queues are held")


def test_a_stopped_worker_loses_nothing_while_somebody_looks(
    lab: Lab, sender: Producer, reader: QueueReader, app: App
) -> None:
    """Looking between all moments of a worker's life; in the end every task has run."""
    worker = lab.celery(app, concurrency=2)
    sender.run("for number in range(30): wait.delay(number)")
    settle(reader, app.queue, unacked=HELD)
    (lab.directory / "gate").touch()
    look_everywhere(reader, app.queue)
    settle(reader, app.queue, ready=0, unacked=0)
    assert worker.stop(signal.SIGTERM) == 0
    assert worker.log.count("succeeded in") == 30
