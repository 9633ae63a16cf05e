"""The destination is the queue's own name, on every way through Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from dramatiq import Message, Worker
from dramatiq.brokers.redis import RedisBroker

from tests.dramatiq.conftest import QUEUE, Shop, attribute

if TYPE_CHECKING:
    from collections.abc import Iterator

fakeredis = pytest.importorskip("fakeredis")


@pytest.fixture
def spaced(shop: Shop) -> Iterator[Shop]:
    """A shop on Redis, with a namespace."""
    shop.broker = RedisBroker(client=fakeredis.FakeRedis(), namespace="eu:shop")
    shop.instrument(settle_spans=True)
    yield shop
    shop.broker.close()


def test_destination_of_delayed_retried_dead_and_unknown_messages_is_queue_name(
    spaced: Shop,
) -> None:
    """It contains neither the namespace nor the suffix of a delay or dead-letter queue."""
    left = [1]

    def run() -> None:
        if left:
            left.pop()
            raise ValueError

    spaced.actor(run, actor_name="add", min_backoff=5, max_backoff=5).send_with_options(delay=5)
    spaced.actor(lambda: 1 / 0, actor_name="bad", max_retries=0).send()
    spaced.broker.enqueue(Message(f"{QUEUE}.DQ", "add", (), {}, {}), delay=5)
    spaced.broker.enqueue(Message(QUEUE, "gone", (), {}, {}), delay=5)
    worker = Worker(spaced.broker, worker_timeout=10, worker_threads=1)
    worker.start()
    settled = time.monotonic() + 10
    while len(spaced.spans("ack default") + spaced.spans("nack default")) < 5:
        assert time.monotonic() < settled
        time.sleep(0.01)
    worker.stop()
    names = {attribute(span, "messaging.destination.name") for span in spaced.spans()}
    dead = {attribute(span, "taskqueue.dead_letter.queue") for span in spaced.spans()}
    assert len(spaced.spans("process add")) == 3
    assert len(spaced.spans("nack default")) == 2
    assert names == {QUEUE}
    assert dead == {None, f"{QUEUE}.XQ"}
