"""Which broker and where, without a connection."""

from __future__ import annotations

import pytest
from dramatiq import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker

from otel_queue_plugins.core.messages import BrokerAddress
from otel_queue_plugins.dramatiq.broker import address_of


class SQSBroker(Broker):
    """By its class name only."""


class PostgresBroker(Broker):
    """One that we know nothing of."""


class MyRedis(RedisBroker):
    """A user's."""


class Odd(RedisBroker):
    """Without the usual client."""


@pytest.mark.parametrize(
    ("broker", "expected"),
    [
        (StubBroker(), BrokerAddress(system="stub")),
        (SQSBroker(), BrokerAddress(system="aws_sqs")),
        (PostgresBroker(), BrokerAddress(system="postgres")),
        (
            RedisBroker(url="redis://user:secret@cache:6380/3"),
            BrokerAddress(system="redis", address="cache", port=6380),
        ),
        (MyRedis(host="cache"), BrokerAddress(system="redis", address="cache", port=6379)),
        (
            RedisBroker(url="unix:///run/redis.sock"),
            BrokerAddress(system="redis", address="/run/redis.sock"),
        ),
        (
            RabbitmqBroker(url="amqp://user:secret@rabbit:5673/vhost"),
            BrokerAddress(system="rabbitmq", address="rabbit", port=5673),
        ),
        (
            RabbitmqBroker(url="amqp://first:1;amqp://second:2"),
            BrokerAddress(system="rabbitmq", address="first", port=1),
        ),
        (
            RabbitmqBroker(host="rabbit"),
            BrokerAddress(system="rabbitmq", address="rabbit", port=5672),
        ),
    ],
)
def test_the_address_of_each_kind_of_broker(broker: Broker, expected: BrokerAddress) -> None:
    """From the broker's configuration."""
    assert address_of(broker) == expected


def test_a_broker_without_the_usual_attributes_has_no_address() -> None:
    """No message is lost over it."""
    odd = Odd()
    odd.client = object()
    assert address_of(odd) == BrokerAddress(system="redis")
