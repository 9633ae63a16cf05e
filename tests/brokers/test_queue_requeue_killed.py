"""Whoever puts dead letters back is killed in the middle: nothing is lost."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import pika
import pytest
import redis

from otel_queue_plugins.brokers.opening import reader_of_url
from tests.brokers.queues import settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Processes
    from tests.services import Broker

DEAD = 300
SOME = 50
SCRIPT = """
    import sys
    from otel_queue_plugins.brokers.opening import reader_of_url

    url, queue = sys.argv[1:]
    reader = reader_of_url(url, "dramatiq")
    reader.requeue(queue, moved=lambda message: print("moved", message.id, flush=True))
"""


def body(number: int) -> bytes:
    """A dead letter."""
    facts: dict[str, Any] = {"message_id": f"m{number}", "actor_name": "act", "args": []}
    return json.dumps({**facts, "kwargs": {}, "options": {"redis_message_id": "x"}}).encode()


def fill(broker: Broker, queue: str) -> None:
    """Dead letters, as Dramatiq's broker leaves them."""
    if broker.system == "redis":
        client = redis.Redis.from_url(broker.url)
        for number in range(DEAD):
            client.zadd(f"dramatiq:{queue}.XQ", {f"r{number}": 1000.0 + number})
            client.hset(f"dramatiq:{queue}.XQ.msgs", f"r{number}", body(number))
        client.close()
        return
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
            channel.queue_declare(name, durable=True)
        for number in range(DEAD):
            channel.basic_publish("", f"{queue}.XQ", body(number))


def everything(broker: Broker, queue: str) -> list[str]:
    """The ids of all messages that are ready or dead; on RabbitMQ they are taken."""
    if broker.system == "redis":
        client = redis.Redis.from_url(broker.url)
        keys = [f"dramatiq:{queue}.msgs", f"dramatiq:{queue}.XQ.msgs"]
        values = [raw for key in keys for raw in client.hvals(key)]
        client.close()
        return [json.loads(raw)["message_id"] for raw in values]
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        return list(_taken(connection.channel(), queue))


def _taken(channel: Any, queue: str) -> Iterator[str]:
    for name in (queue, f"{queue}.XQ"):
        while (raw := channel.basic_get(name, auto_ack=True)[2]) is not None:
            yield json.loads(raw)["message_id"]


@pytest.mark.parametrize("after", [1, SOME])
def test_a_requeue_that_is_killed_loses_nothing(
    own_broker: Broker, processes: Processes, after: int
) -> None:
    """On Redis each message is in one place; on RabbitMQ one at most is in two."""
    queue = f"{own_broker.queue}-{after}"
    fill(own_broker, queue)
    program = processes.python("-c", textwrap.dedent(SCRIPT), own_broker.url, queue)
    program.wait_for_log("^moved", count=after)
    program.kill()
    reader = reader_of_url(own_broker.url, "dramatiq")
    states = reader.states([queue])[0]
    assert states.ready
    settle(reader, queue)
    reader.close()
    found = everything(own_broker, queue)
    assert set(found) == {f"m{number}" for number in range(DEAD)}
    assert len(found) - DEAD in ({0} if own_broker.system == "redis" else {0, 1})
