"""Changes to queues on Redis, without a server: what goes, what stays, what comes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest

from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.brokers.on_redis import celery_keys, dramatiq_keys
from otel_queue_plugins.brokers.on_redis.celery import CeleryOnRedis
from otel_queue_plugins.brokers.on_redis.dramatiq import DramatiqOnRedis
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import FakeClock

CELERY, DRAMATIQ = "celery", "dramatiq"
FIRST_STEP, NEXT_STEP = "q", "q\x06\x163"


@pytest.fixture
def redis() -> Iterator[Any]:
    """A Redis of the test's own."""
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    yield client
    client.close()


def reader_of(framework: str, redis: Any, clock: FakeClock) -> QueueReader:
    """A reader of either framework."""
    source = Source(framework=framework, system="redis", url="redis://")

    def now() -> float:
        return clock() / 1e9

    storage: Any
    if framework == CELERY:
        storage = CeleryOnRedis(
            source,
            lambda: redis,
            celery_keys.Keys(),
            configured=dict,
            attempts=lambda _task: None,
            clock=now,
        )
    else:
        storage = DramatiqOnRedis(
            source,
            lambda: redis,
            dramatiq_keys.Keys(),
            declared=dict,
            attempts=lambda _actor: None,
            clock=now,
        )
    return QueueReader(storage, now)


def fill(framework: str, redis: Any, *ids: str, queue: str = "q") -> None:
    """Ready messages; the first one is the oldest. Every second one is of the task `even`."""
    for number, identity in enumerate(ids):
        task = "odd" if number % 2 else "even"
        if framework == CELERY:
            redis.lpush(queue, json.dumps({"headers": {"task": task, "id": identity}}))
        else:
            redis.rpush(f"dramatiq:{queue}", f"key-{identity}")
            body = json.dumps({"message_id": identity, "actor_name": task, "options": {}})
            redis.hset(f"dramatiq:{queue}.msgs", f"key-{identity}", body)


def kill(redis: Any, *ids: str) -> None:
    """Dead letters of Dramatiq."""
    for number, identity in enumerate(ids):
        body = json.dumps({"message_id": identity, "actor_name": "act", "options": {"retries": 3}})
        redis.zadd("dramatiq:q.XQ", {f"key-{identity}": 1000.0 + number})
        redis.hset("dramatiq:q.XQ.msgs", f"key-{identity}", body)


def dump(redis: Any) -> dict[bytes, Any]:
    """All values."""
    read = {
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"hash": redis.hgetall,
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
    }
    return {key: read[redis.type(key)](key) for key in redis.keys()}  # noqa: SIM118 - a command


def ready(reader: QueueReader) -> list[str]:
    """The ids of what is ready, oldest first."""
    return [message.id for message in reader.peek("q", limit=5000)]


both = pytest.mark.parametrize("framework", [CELERY, DRAMATIQ])


@both
def test_an_undone_purge_leaves_everything_as_it_was(
    framework: str, redis: Any, fake_clock: FakeClock
) -> None:
    """Every key and every value, and no key more."""
    fill(framework, redis, *(f"m{number}" for number in range(1203)))
    before, reader = dump(redis), reader_of(framework, redis, fake_clock)
    assert reader.purge("q").done == 1203
    assert ready(reader) == []
    assert all(redis.ttl(key) > 0 for key in redis.keys())  # noqa: SIM118 - a command
    assert reader.undo("q").done == 1203
    assert dump(redis) == before


@both
def test_purges_are_undone_one_after_the_other(
    framework: str, redis: Any, fake_clock: FakeClock
) -> None:
    """The last one first; what came meanwhile runs after what was there before."""
    reader = reader_of(framework, redis, fake_clock)
    for identity in "ab":
        fill(framework, redis, identity)
        fake_clock.advance(1)
        assert reader.purge("q").done == 1
    fill(framework, redis, "c")
    assert reader.undo("q").done == 1
    assert ready(reader) == ["b", "c"]
    assert reader.undo("q").done == 1
    assert ready(reader) == ["a", "b", "c"]
    with pytest.raises(RefusedError, match="no purge of q within the last hour is kept"):
        reader.undo("q")


@both
def test_what_has_expired_cannot_be_brought_back(
    framework: str, redis: Any, fake_clock: FakeClock
) -> None:
    """An older purge, of which the list still tells, does not count as undone."""
    reader = reader_of(framework, redis, fake_clock)
    fill(framework, redis, "a")
    reader.purge("q")
    for key in redis.scan_iter("otq:purged:*q:*"):
        redis.delete(key)
    with pytest.raises(RefusedError, match="no purge"):
        reader.undo("q")


@both
def test_a_purge_of_nothing_is_none(framework: str, redis: Any, fake_clock: FakeClock) -> None:
    """And leaves nothing to undo."""
    reader = reader_of(framework, redis, fake_clock)
    assert reader.purge("q").done == 0
    assert redis.dbsize() == 0
    with pytest.raises(RefusedError):
        reader.undo("q")


@both
def test_chosen_messages_alone_are_purged(
    framework: str, redis: Any, fake_clock: FakeClock
) -> None:
    """The others keep their order; undone, the chosen ones are the next out, in theirs."""
    ids = [f"m{number:03}" for number in range(301)]
    fill(framework, redis, *ids)
    reader = reader_of(framework, redis, fake_clock)
    change = reader.purge("q", "ready", Selection(task="even"))
    assert (change.matched, change.done) == (151, 151)
    assert ready(reader) == ids[1::2]
    assert reader.undo("q").done == 151
    assert ready(reader) == [*ids[::2], *ids[1::2]]


@both
def test_a_message_that_was_taken_meanwhile_is_not_removed(
    framework: str, redis: Any, fake_clock: FakeClock
) -> None:
    """A worker was faster; nothing is kept aside of it."""
    fill(framework, redis, "a")
    reader: Any = reader_of(framework, redis, fake_clock)
    (message,) = reader.peek("q")
    redis.delete("q", "dramatiq:q", "dramatiq:q.msgs")
    assert reader._storage.remove(message, "1.0") is False
    assert redis.dbsize() == 0


def test_celery_keeps_each_priority(redis: Any, fake_clock: FakeClock) -> None:
    """What is brought back lies in the list that it lay in."""
    fill(CELERY, redis, "a", "b", queue=FIRST_STEP)
    fill(CELERY, redis, "c", queue=NEXT_STEP)
    before, reader = dump(redis), reader_of(CELERY, redis, fake_clock)
    assert reader.purge("q", "ready", Selection(id="c")).done == 1
    fake_clock.advance(1)
    assert reader.purge("q").done == 2
    assert (reader.undo("q").done, reader.undo("q").done) == (2, 1)
    assert dump(redis) == before


def test_a_purge_of_celery_that_cannot_count_what_is_held_says_so(
    redis: Any, fake_clock: FakeClock
) -> None:
    """Without a number that would be a guess."""
    fill(CELERY, redis, "a")
    entries = {f"tag{number}": "[]" for number in range(1001)}
    redis.hset("unacked", mapping=entries)
    plan = reader_of(CELERY, redis, fake_clock).plan_purge("q")
    assert (plan.matched, plan.stays) == (1, "what workers hold will run all the same")


def test_dead_letters_keep_when_they_died(redis: Any, fake_clock: FakeClock) -> None:
    """All of them, or the chosen ones, purged and brought back."""
    kill(redis, "a", "b", "c")
    before, reader = dump(redis), reader_of(DRAMATIQ, redis, fake_clock)
    assert reader.purge("q", "dead", Selection(id="b")).done == 1
    fake_clock.advance(1)
    assert [message.id for message in reader.peek("q", "dead")] == ["a", "c"]
    assert reader.purge("q", "dead").done == 2
    undone = reader.undo("q")
    assert (undone.state, undone.done) == ("dead", 2)
    reader.undo("q")
    assert dump(redis) == before


def test_dead_letters_are_put_back_oldest_first(redis: Any, fake_clock: FakeClock) -> None:
    """Under new keys, with no retries behind them; the chosen ones alone if some are chosen."""
    kill(redis, "a", "b", "c")
    fill(DRAMATIQ, redis, "ready")
    reader = reader_of(DRAMATIQ, redis, fake_clock)
    assert reader.plan_requeue("q", Selection(id="b")).matched == 1
    assert reader.requeue("q", Selection(id="b")).done == 1
    assert ready(reader) == ["ready", "b"]
    assert reader.requeue("q").done == 2
    assert ready(reader) == ["ready", "b", "a", "c"]
    assert {message.attempt for message in reader.peek("q")} == {1}
    keys = redis.lrange("dramatiq:q", 0, -1)
    assert sorted(redis.hkeys("dramatiq:q.msgs")) == sorted(keys)
    assert b"key-a" not in keys
    assert not redis.exists("dramatiq:q.XQ", "dramatiq:q.XQ.msgs")


def test_what_dies_again_meanwhile_is_not_put_back_again(redis: Any, fake_clock: FakeClock) -> None:
    """A requeue ends, however quick the workers are."""
    kill(redis, "a", "b")
    reader = reader_of(DRAMATIQ, redis, fake_clock)
    change = reader.requeue("q", moved=lambda message: kill(redis, f"{message.id}-again"))
    assert change.done == 2
    assert [message.id for message in reader.peek("q", "dead")] == ["a-again", "b-again"]


def test_delayed_messages_are_shown_by_their_time(redis: Any, fake_clock: FakeClock) -> None:
    """The next one first, whoever holds it; what no worker has can be purged."""
    for number in (3, 1, 2):
        body = json.dumps({"message_id": f"m{number}", "options": {"eta": number * 1000}})
        redis.hset("dramatiq:q.DQ.msgs", f"key{number}", body)
    redis.rpush("dramatiq:q.DQ", "key2")
    reader = reader_of(DRAMATIQ, redis, fake_clock)
    assert [message.id for message in reader.peek("q", "delayed")] == ["m1", "m2", "m3"]
    assert [message.eta for message in reader.peek("q", "delayed", limit=1)] == [1.0]
    plan = reader.plan_purge("q", "delayed")
    assert (plan.matched, plan.stays) == (1, "2 that workers hold will run at their time")
    assert reader.purge("q", "delayed").done == 1
    assert [message.id for message in reader.peek("q", "delayed")] == ["m1", "m3"]


def test_a_key_of_another_kind_is_an_error_in_words(redis: Any, fake_clock: FakeClock) -> None:
    """Somebody's key with the name of a queue; nothing of ours raises anything else."""
    redis.set("q", "mine")
    with pytest.raises(BrokerError, match=r"^redis://: .*WRONGTYPE"):
        reader_of(CELERY, redis, fake_clock).states(["q"])
