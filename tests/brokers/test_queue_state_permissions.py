"""Leases on RabbitMQ: who may hold them, and what the broker keeps of them."""

from __future__ import annotations

import time
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pika
import pytest

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.opening import TIMEOUT, reader_of_url
from tests.brokers.queues import management, until
from tests.services import queue_name

if TYPE_CHECKING:
    from tests.services import Managed

FRAMEWORKS = ["celery", "dramatiq"]


@pytest.fixture
def queue(managed_rabbitmq: Managed) -> str:
    """A queue that exists."""
    name = queue_name()
    with pika.BlockingConnection(pika.URLParameters(managed_rabbitmq.url)) as connection:
        connection.channel().queue_declare(name)
    return name


def locks(managed: Managed, queue: str) -> list[str]:
    """The queues of leases on `queue`."""
    rows = management(managed.management_url, "queues?disable_stats=true&enable_queue_totals=true")
    return [row["name"] for row in rows if row["name"] == f"otq.reporter.{queue}"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_user_that_may_not_declare_is_told_the_setting(
    managed_rabbitmq: Managed, framework: str, queue: str
) -> None:
    """The queue can be looked at all the same."""
    api = managed_rabbitmq.management_url
    management(api, "users/narrow", {"password": "pw", "tags": ""})
    rights = {"configure": "^$", "write": ".*", "read": ".*"}
    management(api, "permissions/%2F/narrow", rights)
    url = managed_rabbitmq.url.replace("guest:guest", "narrow:pw")
    reader = reader_of_url(url, framework, queues=[queue])
    leases = reader.leases("me", 10, TIMEOUT)
    for _ in range(2):
        with pytest.raises(RefusedError, match="OTEL_QUEUE_STATE_LEASE=off"):
            leases.hold([queue])
    assert reader.states([queue])[0].ready == 0
    leases.close()
    reader.close()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_lease_is_held_by_one_and_free_when_it_is_given_back(
    managed_rabbitmq: Managed, framework: str, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged for a lease of another. No lease is listed as a queue of tasks."""
    readers = [
        reader_of_url(
            managed_rabbitmq.url, framework, management_url=managed_rabbitmq.management_url
        )
        for _ in range(2)
    ]
    first, second = (reader.leases(str(n), 3, TIMEOUT) for n, reader in enumerate(readers))
    held = first.hold([queue])
    assert held.until.keys() == {queue}
    assert not held.is_lost()
    assert second.hold([queue]).until == {}
    assert first.hold([queue]).until.keys() == {queue}
    assert caplog.text == ""
    assert locks(managed_rabbitmq, queue) == [f"otq.reporter.{queue}"]
    assert f"otq.reporter.{queue}" not in readers[0].names(search=True)
    assert first.hold([]).until == {}
    assert second.hold([queue]).until.keys() == {queue}
    first.close()
    assert held.is_lost()
    second.close()
    until(lambda: locks(managed_rabbitmq, queue) == [], lambda: "no lease")
    for reader in readers:
        reader.close()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_lease_outlives_missed_renewals_and_ends_with_its_connection(
    managed_rabbitmq: Managed, framework: str, queue: str
) -> None:
    """Heartbeats are served meanwhile; a closed connection is noticed within moments."""
    reader = reader_of_url(managed_rabbitmq.url, framework)
    other = reader_of_url(managed_rabbitmq.url, framework)
    leases, others = reader.leases("me", 2, TIMEOUT), other.leases("other", 2, TIMEOUT)
    held = leases.hold([queue])
    # The broker would end a silent connection after two to three heartbeats of a second each.
    gone: list[Any] = []
    deadline = held.until[queue] + 3
    until(lambda: time.monotonic() > deadline, lambda: "time")
    assert not held.is_lost()
    assert others.hold([queue]).until == {}
    api = managed_rabbitmq.management_url
    until(lambda: gone.extend(_connections(api)) or gone, lambda: "connections")
    for name in gone:
        _close(api, name)
    until(held.is_lost, lambda: "noticed", 5)
    leases.close()
    others.close()


def _connections(api: str) -> list[str]:
    return [row["name"] for row in management(api, "connections")]


def _close(api: str, name: str) -> None:
    request = urllib.request.Request(
        f"{api}/api/connections/{quote(name)}",
        method="DELETE",
        headers={"Authorization": f"Basic {b64encode(b'guest:guest').decode()}"},
    )
    urllib.request.urlopen(request, timeout=30).close()
