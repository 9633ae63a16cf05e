"""The system and the address of each kind of broker, read without a connection."""

from __future__ import annotations

import pytest
from dramatiq import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker

from otel_queue_plugins.core.messages import BrokerAddress
from otel_queue_plugins.dramatiq.broker import address_of


class SQSBroker(Broker):
    """A broker that is recognised by its class name only."""


class PostgresBroker(Broker):
    """A broker of a kind that this package does not know."""


class MyRedis(RedisBroker):
    """A subclass made by a user."""


class Odd(RedisBroker):
    """A broker whose client lacks the usual attributes."""


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
def test_address_of_each_kind_of_broker_is_that_of_its_configuration(
    broker: Broker, expected: BrokerAddress
) -> None:
    """The address comes from the configuration of the broker."""
    assert address_of(broker) == expected


def test_address_of_broker_without_usual_attributes_is_none() -> None:
    """A client with other attributes does not raise, and no message is lost."""
    odd = Odd()
    odd.client = object()
    assert address_of(odd) == BrokerAddress(system="redis")
