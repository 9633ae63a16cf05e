"""The broker address is found in the settings; no connection is opened."""

from __future__ import annotations

import gc
import socket
from typing import Any

import pytest
from celery import Celery

from otel_queue_plugins.celery import broker
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.messages import BrokerAddress, Route


@pytest.mark.parametrize(
    ("settings", "system", "address", "port"),
    [
        ({}, "rabbitmq", "localhost", 5672),
        ({"broker_url": "amqp://"}, "rabbitmq", "localhost", 5672),
        ({"broker_url": "pyamqp://user:secret@mq:5673//"}, "rabbitmq", "mq", 5673),
        ({"broker_url": "amqps://mq"}, "rabbitmq", "mq", 5671),
        ({"broker_url": "amqp://u:p@[::1]:5673//"}, "rabbitmq", "::1", 5673),
        ({"broker_url": "redis://:secret@cache/3"}, "redis", "cache", 6379),
        ({"broker_url": "rediss://cache:6380/0?ssl_cert_reqs=none"}, "redis", "cache", 6380),
        (
            {"broker_url": "redis+socket:///run/redis.sock?virtual_host=1"},
            "redis",
            "/run/redis.sock",
            None,
        ),
        ({"broker_url": "valkey://cache"}, "valkey", "cache", 6379),
        ({"broker_url": "sentinel://one:26380;sentinel://two:26379"}, "redis", "one", 26380),
        (
            {"broker_url": "sentinel://one", "broker_transport_options": {"master_name": "m"}},
            "redis",
            "one",
            26379,
        ),
        ({"broker_url": ["amqp://one", "amqp://two"]}, "rabbitmq", "one", 5672),
        ({"broker_url": "amqp://one;amqp://two"}, "rabbitmq", "one", 5672),
        ({"broker_url": "sqs://AKIA:se/cr%2Fet@"}, "aws_sqs", None, None),
        (
            {"broker_url": "sqs://", "broker_transport_options": {"region": "eu-west-1"}},
            "aws_sqs",
            None,
            None,
        ),
        ({"broker_url": "gcpubsub://projects/shop"}, "gcp_pubsub", None, None),
        ({"broker_url": "confluentkafka://log:9093"}, "kafka", "log", 9093),
        ({"broker_url": "azureservicebus://policy:ke/y=@space"}, "servicebus", None, None),
        (
            {"broker_url": "azurestoragequeues://:key@https://x.net"},
            "azure_storage_queues",
            None,
            None,
        ),
        ({"broker_url": "mongodb://u:p@one,two:27018/db"}, "mongodb", "one", 27018),
        ({"broker_url": "memory://"}, "memory", None, None),
        ({"broker_url": "filesystem://"}, "filesystem", None, None),
        ({"broker_url": "sqla+sqlite:///tasks.db"}, "sqlalchemy", None, None),
        ({"broker_url": "cache", "broker_transport": "redis"}, "redis", "cache", 6379),
        ({"broker_transport": "redis"}, "redis", "localhost", 6379),
        ({"broker_transport": "memory"}, "memory", None, None),
        ({"broker_url": "amqp://mq", "broker_port": 5999}, "rabbitmq", "mq", 5999),
        ({"broker_url": "redis://cache:port/0"}, "redis", None, None),
        ({"broker_url": ""}, "rabbitmq", "localhost", 5672),
        ({"broker_url": []}, "rabbitmq", "localhost", 5672),
    ],
)
def test_broker_address_is_that_of_settings(
    settings: dict[str, Any], system: str, address: str | None, port: int | None
) -> None:
    """It has system, address and port; never a user, password or key."""
    app = Celery(set_as_current=False)
    app.conf.update(settings)
    assert broker.address_of(app) == BrokerAddress(system=system, address=address, port=port)


def test_routes_for_reading_and_writing_have_their_own_broker() -> None:
    """A send span names the broker written to, a process span the one read from."""
    app = Celery(set_as_current=False)
    app.conf.update(broker_read_url="amqp://near", broker_write_url="amqp://far")
    routes = Routes()
    assert routes.find(app, "add", "", "q", reading=False).server_address == "far"
    assert routes.find(app, "add", "", "q", reading=True).server_address == "near"


def test_broker_address_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are enough."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    app = Celery(set_as_current=False, broker="redis://cache", backend="redis://cache")
    route = Routes().find(app, "add", "", "mail", reading=True)
    assert (route.system, route.destination) == ("redis", "mail")


def test_routes_of_deleted_app_are_not_used_for_another() -> None:
    """A later app may have the memory of an earlier one, but another broker."""
    routes = Routes()
    for number in range(3):
        app = Celery(set_as_current=False, broker=f"redis://gone-{number}")
        route = routes.find(app, "add", "", "mail", reading=False)
        assert route.server_address == f"gone-{number}"
        del app, route
    gc.collect()
    left = {one.server_address for one in gc.get_objects() if type(one) is Route}
    assert left.isdisjoint({"gone-0", "gone-1"})


def test_routes_of_two_apps_are_kept() -> None:
    """A route is made once, also if two apps send in turn."""
    routes = Routes()
    apps = [Celery(set_as_current=False, broker=f"redis://cache-{n}") for n in range(2)]
    first = [routes.find(app, "add", "", "mail", reading=False) for app in apps]
    again = [routes.find(app, "add", "", "mail", reading=False) for app in apps]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True]
    assert [route.server_address for route in first] == ["cache-0", "cache-1"]
