"""Celery on a Redis that is found through Sentinel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
from celery import Celery

from otel_queue_plugins.brokers.opening import reader_of_celery
from tests.brokers.queues import look_everywhere, numbers
from tests.services import find_binary, free_port, queue_name, redis_database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Processes


def test_the_master_is_asked_for_and_read(
    redis_url: str, processes: Processes, tmp_path: Path
) -> None:
    """A sentinel that is down is passed over; the master's queues are the app's own."""
    parts, port = urlsplit(redis_url), free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nsentinel monitor ours {parts.hostname} {parts.port} 1\n"
    )
    command = [find_binary("redis-server"), str(configuration), "--sentinel"]
    processes.start("sentinel", command, cwd=tmp_path).wait_for_log(r"\+monitor master ours")
    with redis_database(redis_url) as url:
        database = urlsplit(url).path
        app = Celery("sentinel", set_as_current=False)
        queue = queue_name()
        app.conf.update(
            broker_url=f"sentinel://127.0.0.1:1{database};sentinel://127.0.0.1:{port}{database}",
            broker_transport_options={"master_name": "ours", "global_keyprefix": "p:"},
            task_default_queue=queue,
        )
        started = time.monotonic()
        reader = reader_of_celery(app)
        client: Any = redis.Redis.from_url(url)
        client.lpush(f"p:{queue}", '{"headers": {"task": "t", "id": "i"}}')
        assert reader.source.system == "redis"
        assert numbers(reader, queue)["ready"] == 1
        assert [message.id for message in reader.peek(queue)] == ["i"]
        look_everywhere(reader, queue)
        assert time.monotonic() - started < 30
        reader.close()
        client.close()
