"""A RabbitMQ that collects no statistics, as in its Docker image: totals are there all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pika
import pytest

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.opening import reader_of_url
from tests.brokers.queues import settle
from tests.services import Managed, find_binary, free_port, start_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Iterator

OFF = "management_agent.disable_metrics_collector = true\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """One with an API that knows little."""
    directory, port = tmp_path_factory.mktemp("quiet-rabbitmq"), free_port()
    binary = find_binary("rabbitmq-server")
    processes, url = start_rabbitmq(binary, directory, management_port=port, more=OFF)
    yield Managed(url=url, management_url=f"http://127.0.0.1:{port}")
    processes.close()


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_what_is_held_is_known_without_statistics(
    server: Managed, framework: str, kind: str
) -> None:
    """In classic and quorum queues; a policy is not known, and so no dead letters of Celery."""
    queue = f"{framework}-{kind}"
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        channel = connection.channel()
        for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
            channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
        for _ in range(5):
            channel.basic_publish("", queue, b"{}")
            channel.basic_publish("", f"{queue}.DQ", b"{}")
        channel.basic_get(queue)
        channel.basic_get(f"{queue}.DQ")
        reader = reader_of_url(server.url, framework, management_url=server.management_url)
        row = settle(reader, queue, ready=4, unacked=1)
        if framework == "dramatiq":
            row = settle(reader, queue, delayed=5, dead=0)
        else:
            assert "a policy" in row["unknown"]["dead"]
            with pytest.raises(RefusedError, match="a policy"):
                reader.requeue(queue)
        assert row["oldest_age_s"] is None
        seen = reader.peek(queue, limit=2, disturb=True)
        assert len(seen) == 2
        settle(reader, queue, ready=4, unacked=1)
        reader.close()
