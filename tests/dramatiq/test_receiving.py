"""Polls of a worker: with `receive_spans` or the metric of polls, and nothing without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed

from otel_queue_plugins.dramatiq.fetches import PollingConsumer
from tests.dramatiq.conftest import QUEUE, Shop, attribute, ids_of_links

if TYPE_CHECKING:
    from collections.abc import Iterator

FETCHES = "taskqueue.fetches"
RESULT = "taskqueue__fetch__result"


class Prefetching:
    """A consumer as that of Redis, which gets several messages with one poll."""

    prefetch = 3

    def __init__(self, messages: list[Any]) -> None:
        self.queue_name = f"{QUEUE}.DQ"
        self.message_cache: list[Any] = []
        self.outstanding_message_count = 0
        self._polls: Iterator[Any] = iter([messages, [], ConnectionClosed("gone")])

    def __iter__(self) -> Prefetching:
        return self

    def __next__(self) -> Any:
        if not self.message_cache and self.outstanding_message_count < self.prefetch:
            polled = next(self._polls)
            if isinstance(polled, Exception):
                raise polled
            self.message_cache = list(polled)
        return self.message_cache.pop(0) if self.message_cache else None


class PrefetchingBroker(StubBroker):
    """A broker with such a consumer."""

    def consume(self, *args: Any, **kwargs: Any) -> Any:
        one, other = super().consume(*args, **kwargs), super().consume(*args, **kwargs)
        return Prefetching([next(one), next(other)])


def test_poll_that_returned_message_has_span_that_links_to_its_send(shop: Shop) -> None:
    """The polls in vain have none, and no delivery is different for it."""
    shop.instrument(receive_spans=True, settle_spans=True)
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    send, receive = shop.span("send add"), shop.span(f"receive {QUEUE}")
    assert receive.parent is None
    assert ids_of_links(receive) == [send.context.span_id]
    assert attribute(receive, "messaging.message.id") == attribute(send, "messaging.message.id")
    assert attribute(receive, "messaging.operation.type") == "receive"
    assert attribute(receive, "messaging.system") == "stub"
    assert {span.name for span in shop.spans()} == {
        "send add",
        "process add",
        f"receive {QUEUE}",
        f"ack {QUEUE}",
    }
    assert shop.total(FETCHES) == 0


def test_polls_are_counted_by_result(shop: Shop) -> None:
    """Those that returned a message, and those in vain."""
    shop.instrument(metrics={FETCHES})
    actor = shop.actor(lambda: None, actor_name="add")
    for _ in range(3):
        actor.send()
    shop.work()
    assert shop.total(FETCHES, **{RESULT: "message"}) == 3
    assert shop.total(FETCHES, **{RESULT: "empty", "messaging__destination__name": QUEUE}) <= (
        shop.total(FETCHES, **{RESULT: "empty"})
    )
    assert not shop.spans(f"receive {QUEUE}")


def test_message_of_an_earlier_poll_is_none_of_its_own(shop: Shop) -> None:
    """One poll of Redis gets several messages, and none is asked for while enough are held."""
    shop.broker = PrefetchingBroker()
    shop.instrument(receive_spans=True, metrics={FETCHES})
    actor = shop.actor(lambda: None, actor_name="add")
    for _ in range(2):
        actor.send()
    consumer = shop.broker.consume(QUEUE)
    assert isinstance(consumer, PollingConsumer)
    assert next(consumer) is not None
    assert next(consumer) is not None
    receive = shop.span(f"receive {QUEUE}")
    assert attribute(receive, "messaging.batch.message_count") == 2
    consumer.outstanding_message_count = 3
    assert next(consumer) is None
    consumer.outstanding_message_count = 0
    assert next(consumer) is None
    with pytest.raises(ConnectionClosed):
        next(consumer)
    assert {
        result: shop.total(FETCHES, **{RESULT: result}) for result in ("message", "empty", "error")
    } == {"message": 1, "empty": 1, "error": 1}
