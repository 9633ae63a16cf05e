"""Queues on Redis, without a server: layouts, searching, and what others leave there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dramatiq
import fakeredis
import pytest
from dramatiq.brokers.redis import RedisBroker
from kombu import Connection
from kombu.transport.redis import Channel

from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.brokers.on_redis import celery_unacked, kombu_settings
from otel_queue_plugins.brokers.on_redis.celery import CeleryOnRedis
from otel_queue_plugins.brokers.on_redis.celery_keys import Keys, keys_of
from otel_queue_plugins.brokers.on_redis.client import client_like
from otel_queue_plugins.brokers.opening import reader_of_dramatiq
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.rows import queue_row

if TYPE_CHECKING:
    from tests.conftest import FakeClock

NOW = 1_700_000_000.0


@pytest.fixture
def redis() -> Any:
    """A Redis of the test's own."""
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    yield client
    client.close()


def stored(identity: str = "i", enqueued_at: float | None = None, **headers: Any) -> dict[str, Any]:
    """A message as kombu stores it."""
    otq = {} if enqueued_at is None else {"otq": f"{int(enqueued_at * 1e6):x}"}
    return {
        "headers": {"task": "t", "id": identity, **otq, **headers},
        "properties": {},
        "body": "",
    }


def reader_of(redis: Any, keys: Keys) -> QueueReader:
    """A reader with a clock that stands still."""
    storage = CeleryOnRedis(
        Source(framework="celery", system="redis", url="redis://"),
        lambda: redis,
        keys,
        configured=lambda: {"q": "configured"},
        attempts=lambda _task: 4,
        clock=lambda: NOW,
    )
    return QueueReader(storage, lambda: NOW)


def row(reader: QueueReader, queue: str = "q") -> dict[str, Any]:
    """The numbers of one queue."""
    (state,) = reader.states([queue])
    return queue_row(state)


def test_every_name_of_a_key_is_an_option_of_the_transport(redis: Any) -> None:
    """As kombu's own channel reads them; the rest is its default."""
    options = {
        "global_keyprefix": "p:",
        "sep": "|",
        "priority_steps": [0, 5],
        "unacked_key": "held",
        "unacked_index_key": "held_since",
        "visibility_timeout": 100,
    }
    keys = keys_of(Channel, options)
    assert keys.lists("q") == ["p:q", "p:q|5"]
    redis.lpush("p:q", json.dumps(stored(enqueued_at=NOW - 5)))
    redis.lpush("p:q|5", json.dumps(stored(enqueued_at=NOW - 9)))
    redis.hset("p:held", "tag", json.dumps([stored(enqueued_at=NOW - 70), "", "q"]))
    redis.zadd("p:held_since", {"tag": NOW - 51})
    reader = reader_of(redis, keys)
    assert (row(reader)["ready"], row(reader)["unacked"], row(reader)["oldest_age_s"]) == (2, 1, 9)
    (state,) = reader.states(["q"])
    assert (state.abandoned, state.oldest_unacked_age_s) == (1, 70)
    assert [each.enqueued_at for each in reader.peek("q")] == [NOW - 9, NOW - 5]
    assert reader.peek("q")[0].max_attempts == 4
    assert keys_of(Channel, {}) == Keys()


def test_one_message_without_a_time_leaves_the_age_unknown(redis: Any) -> None:
    """A guess from the others would be too young."""
    redis.lpush("q", json.dumps(stored(enqueued_at=NOW - 5)))
    redis.lpush("q\x06\x163", json.dumps(stored()))
    found = row(reader_of(redis, Keys()))
    assert found["oldest_age_s"] is None
    assert "does not say when it was sent" in found["unknown"]["oldest_age_s"]


def test_a_message_that_waits_for_its_time_is_not_old(redis: Any) -> None:
    """Its age begins when it may run."""
    redis.lpush("q", json.dumps(stored(enqueued_at=NOW - 100, eta="2023-11-14T22:13:10+00:00")))
    assert row(reader_of(redis, Keys()))["oldest_age_s"] == 10.0


@pytest.mark.parametrize(
    ("exchange", "routing_key", "members", "queues"),
    [
        ("", "q", [], ["q"]),
        ("direct", "key", ["key||q", "other||r"], ["q"]),
        ("topic", "a.b", [r"a.#|^a\..*?$|q", r"c.#|^c\..*?$|r"], ["q"]),
        ("topic", "a.b", [r"a.#|^a\..*?$|q", r"#|^.*?$|r"], ["q", "r"]),
        ("topic", "a", ["a|[|q"], ["q"]),
        ("gone", "q", [], ["q"]),
    ],
)
def test_what_is_held_belongs_to_the_queue_that_it_was_routed_to(
    redis: Any, exchange: str, routing_key: str, members: list[str], queues: list[str]
) -> None:
    """By the bindings that kombu keeps; where several fit, the number of each is unknown."""
    for member in members:
        redis.sadd(f"_kombu.binding.{exchange}", member.replace("|", "\x06\x16"))
    redis.hset("unacked", "tag", json.dumps([stored(), exchange, routing_key]))
    redis.zadd("unacked_index", {"tag": NOW})
    found = row(reader_of(redis, Keys()))
    assert found["unacked"] == (1 if queues == ["q"] else None)
    bindings = celery_unacked.Bindings(redis, Keys())
    assert bindings.queues(exchange, routing_key) == queues


def test_what_is_large_is_not_fetched(redis: Any) -> None:
    """Neither is it counted by queue: only the whole is known."""
    entry = json.dumps([{**stored(), "body": "x" * 3_000_000}, "", "q"])
    for tag in ("a", "b"):
        redis.hset("unacked", tag, entry)
        redis.zadd("unacked_index", {tag: NOW})
    found = row(reader_of(redis, Keys()))
    assert found["unacked"] is None
    assert "4,000,000 bytes, are not searched" in found["unknown"]["unacked"]


def test_what_is_none_of_kombus_is_left_out(redis: Any) -> None:
    """It is counted where a broker would count it, and not shown."""
    redis.lpush("q", "no json", json.dumps(stored("good")))
    redis.hset("unacked", "tag", "[]")
    redis.zadd("unacked_index", {"tag": NOW})
    reader = reader_of(redis, Keys())
    assert row(reader)["ready"] == 2
    assert [each.id for each in reader.peek("q")] == ["good"]
    assert reader.peek("q", "unacked") == []


def test_searching_finds_what_was_ever_bound(redis: Any) -> None:
    """Under the prefix alone; remote control and events are no queues of tasks."""
    for prefix, queue in (("p:", "mail"), ("p:", "w@h.celery.pidbox"), ("", "others")):
        redis.sadd(f"{prefix}_kombu.binding.{queue}", f"{queue}\x06\x16\x06\x16{queue}")
    reader = reader_of(redis, Keys(prefix="p:"))
    assert reader.names() == {"q": "configured"}
    assert reader.names(search=True) == {"mail": "bound", "q": "configured"}


def test_messages_that_move_while_one_searches_are_not_missed(redis: Any) -> None:
    """New ones push the others along; each is seen once."""
    for number in range(250):
        redis.lpush("q", json.dumps(stored(f"id-{number}")))
    storage: Any = reader_of(redis, Keys())._storage
    seen = []
    found = storage.scan("q", "ready", at_most=None, newest_first=True, containing=b"")
    for message in found:
        seen.append(message.id)
        if len(seen) % 50 == 0:
            redis.lpush("q", json.dumps(stored(f"new-{len(seen)}")))
    old = [identity for identity in seen if identity.startswith("id-")]
    assert sorted(old) == sorted(f"id-{number}" for number in range(250))


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("redis://", {"host": "127.0.0.1", "port": 6379, "db": 0}),
        ("redis://u:p@h:1/3", {"host": "h", "port": 1, "db": 3, "username": "u", "password": "p"}),
        ("redis+socket:///tmp/r.sock", {"path": "/tmp/r.sock", "db": 0}),  # noqa: S108
        (
            "redis+socket://u:p@/tmp/r.sock?virtual_host=2",
            {"path": "/tmp/r.sock", "db": 2, "username": "u", "password": "p"},  # noqa: S108
        ),
        ("rediss://h/1?ssl_cert_reqs=required", {"host": "h", "db": 1, "ssl_cert_reqs": 2}),
    ],
)
def test_kombu_and_this_package_go_to_the_same_place(url: str, settings: dict[str, Any]) -> None:
    """Host or socket, database, user, TLS."""
    found, connection_class = kombu_settings.of(Connection(url))
    assert settings.items() <= found.items()
    names = {"redis+socket": "UnixDomainSocketConnection", "rediss": "SSLConnection"}
    expected = names.get(url.partition("://")[0])
    assert getattr(connection_class, "__name__", None) == expected


def test_a_provider_of_credentials_takes_the_place_of_a_user() -> None:
    """As kombu has it."""
    connection = Connection("redis://u:p@h", credential_provider="collections.Counter")
    found, _ = kombu_settings.of(connection)
    assert "password" not in found
    assert type(found["credential_provider"]).__name__ == "Counter"


def test_dramatiq_without_a_server() -> None:
    """The same client class as the broker's, with time-outs of ours; every state."""
    server = fakeredis.FakeServer()
    broker = RedisBroker(client=fakeredis.FakeRedis(server=server))

    @dramatiq.actor(broker=broker, queue_name="orders", max_retries=4)
    def act() -> None:
        pass

    act.send()
    act.send_with_options(delay=100_000)
    reader = reader_of_dramatiq(broker)
    found = row(reader, "orders")
    assert [found[name] for name in ("ready", "delayed", "unacked", "dead")] == [1, 1, 0, 0]
    assert reader.peek("orders")[0].max_attempts == 5
    assert reader.peek("orders", "delayed")[0].eta is not None
    ours = client_like(broker.client, 1.5).connection_pool.connection_kwargs
    assert (ours["socket_timeout"], ours["socket_connect_timeout"]) == (1.5, 1.5)
    assert ours["retry"]._retries == 0
    reader.close()
    broker.close()


def test_many_brokers_that_are_gone_are_not_asked_one_by_one() -> None:
    """The bound holds for all queues together."""
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    broker = RedisBroker(client=client)
    client.zadd("dramatiq:__heartbeats__", {f"w{number}": 1000.0 for number in range(1001)})
    (state,) = reader_of_dramatiq(broker).states(["orders"])
    assert state.abandoned is None
    assert "too many brokers are gone" in state.unknown["abandoned"]
    client.zremrangebyrank("dramatiq:__heartbeats__", 0, 800)
    client.sadd("dramatiq:__acks__.w990.orders", "a", "b")
    client.sadd("dramatiq:__acks__.w990.orders.DQ", "c")
    (state,) = reader_of_dramatiq(broker).states(["orders"])
    assert state.abandoned == 3
    broker.close()


def test_a_binding_that_is_made_later_is_found(redis: Any, fake_clock: FakeClock) -> None:
    """What an exchange leads to is looked up again after minutes, not at each poll."""
    storage = CeleryOnRedis(
        Source(framework="celery", system="redis", url="redis://"),
        lambda: redis,
        Keys(),
        configured=dict,
        attempts=lambda _task: None,
        clock=lambda: fake_clock() / 1e9,
    )
    reader = QueueReader(storage, lambda: fake_clock() / 1e9)
    redis.hset("unacked", "tag", json.dumps([stored(), "topic", "a.b"]))
    redis.zadd("unacked_index", {"tag": NOW})
    assert row(reader)["unacked"] == 0
    redis.sadd("_kombu.binding.topic", "a.#\x06\x16^a\\..*?$\x06\x16q")
    fake_clock.advance(299)
    assert row(reader)["unacked"] == 0
    fake_clock.advance(2)
    assert row(reader)["unacked"] == 1


def test_last_message_is_acked_between_the_two_reads(redis: Any) -> None:
    """The hash was counted with it, the index has it no more: none is held."""
    redis.hset("unacked", "tag", json.dumps([stored(), "", "q"]))
    assert row(reader_of(redis, Keys()))["unacked"] == 0
