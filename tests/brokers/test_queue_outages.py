"""A broker that hangs, is killed and comes back: errors in time, and then numbers again."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pika
import pytest
import redis

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.opening import TIMEOUT, reader_of_url
from tests.brokers.queues import until
from tests.services import find_binary, free_port, start_rabbitmq, start_redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_queue_plugins.brokers.reader import QueueReader
    from tests.processes import Processes

QUEUE = "orders"
SLACK = 30  # without a bound a stopped broker is waited for as long as it is stopped


@dataclass(slots=True)
class Server:
    """A broker of the test's own."""

    system: str
    directory: Path
    processes: Processes
    url: str
    management_port: int | None = None

    def restart(self) -> None:
        """Kill it, and start it on the same port with what it had on disk."""
        self.processes.close()
        port: Any = urlsplit(self.url).port
        self.processes, self.url = start(self.system, self.directory, port, self.management_port)
        self.fill()

    def fill(self) -> None:
        """The queue is there, with one message."""
        if self.system == "redis":
            client = redis.Redis.from_url(self.url)
            client.delete(QUEUE, f"dramatiq:{QUEUE}")
            client.lpush(QUEUE, "{}")
            client.rpush(f"dramatiq:{QUEUE}", "1")
            client.hset(f"dramatiq:{QUEUE}.msgs", "1", "{}")
            client.close()
            return
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            channel.queue_declare(QUEUE, durable=True)
            channel.queue_purge(QUEUE)
            channel.basic_publish("", QUEUE, b"{}")

    def send_signal(self, number: int) -> None:
        """To the server itself."""
        self.processes.last.send_signal(number)


def start(
    system: str, directory: Path, port: int | None, management_port: int | None
) -> tuple[Processes, str]:
    """A server, by the kind of broker."""
    if system == "redis":
        return start_redis(find_binary("redis-server"), directory, port=port)
    binary = find_binary("rabbitmq-server")
    return start_rabbitmq(binary, directory, port=port, management_port=management_port)


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One for all tests of this module."""
    directory = tmp_path_factory.mktemp(request.param)
    api = free_port() if request.param == "rabbitmq" else None
    processes, url = start(request.param, directory, None, api)
    server = Server(request.param, directory, processes, url, api)
    server.fill()
    yield server
    server.processes.close()


@pytest.fixture(params=["celery", "dramatiq"])
def reader(request: pytest.FixtureRequest, server: Server) -> Iterator[QueueReader]:
    """Of each framework, with the management API where there is one."""
    api = server.management_port and f"http://127.0.0.1:{server.management_port}"
    found = reader_of_url(server.url, request.param, queues=[QUEUE], management_url=api or None)
    yield found
    found.close()


def ready(reader: QueueReader) -> int | None:
    """What is ready, as a poll sees it."""
    (state,) = reader.states([QUEUE])
    return state.ready


def fails_in_time(reader: QueueReader) -> str:
    """The error, which came within the time-out."""
    started = time.monotonic()
    with pytest.raises(BrokerError) as raised:
        reader.states([QUEUE])
    assert time.monotonic() - started < TIMEOUT + SLACK
    assert raised.value.args[0].startswith(reader.source.url)
    assert "guest:guest" not in str(raised.value)
    return str(raised.value)


def test_a_broker_that_hangs_is_an_error_in_time(server: Server, reader: QueueReader) -> None:
    """On a connection that was used before, and on a new one; later all is as before."""
    assert ready(reader) == 1
    server.send_signal(signal.SIGSTOP)
    try:
        fails_in_time(reader)
        fails_in_time(reader)
    finally:
        server.send_signal(signal.SIGCONT)
    assert until(lambda: _ready_or_none(reader), lambda: "an answer") == 1


def test_a_broker_that_was_killed_and_is_back_is_read_at_once(
    server: Server, reader: QueueReader
) -> None:
    """The dead connection is found out and replaced within one call."""
    assert ready(reader) == 1
    server.restart()
    assert ready(reader) == 1


@pytest.mark.timing
def test_a_broker_that_is_gone_is_an_error_at_once(server: Server, reader: QueueReader) -> None:
    """Nothing is waited for where nobody listens."""
    assert ready(reader) == 1
    server.processes.close()
    started = time.monotonic()
    for _ in range(2):
        fails_in_time(reader)
    assert time.monotonic() - started < TIMEOUT
    server.restart()
    assert ready(reader) == 1


def _ready_or_none(reader: QueueReader) -> int | None:
    try:
        return ready(reader)
    except BrokerError:
        return None
