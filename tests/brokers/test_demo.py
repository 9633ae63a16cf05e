"""`otel-queue demo --broker-url` over real brokers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.environment import clean_environment
from tests.services import Broker

COMMAND = [sys.executable, "-m", "otel_queue_plugins.cli.main", "demo"]
NOT_OURS = {"otel-queue-tests", "_kombu.binding_deadlines"}


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_demo_on_real_broker_records_all_and_leaves_nothing_on_it(
    framework: str, own_broker: Broker, tmp_path: Path
) -> None:
    """All telemetry arrives, spans name the broker, and its queues and keys are deleted."""
    done = subprocess.run(
        [*COMMAND, framework, "--json", "--broker-url", own_broker.url],
        env=clean_environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    spans = [span for trace in document["traces"] for span in trace["spans"]]
    sends = [span["attributes"] for span in spans if span["kind"] == "producer"]
    assert {attributes["messaging.system"] for attributes in sends} == {own_broker.system}
    (queue,) = {attributes["messaging.destination.name"] for attributes in sends}
    assert _left_on(own_broker, queue) == set()


def _left_on(broker: Broker, queue: str) -> set[str]:
    if broker.system == "redis":
        import redis

        with redis.Redis.from_url(broker.url) as client:
            return {key.decode() for key in client.scan_iter() if client.ttl(key) < 0} - NOT_OURS
    return {name for name in (queue, f"{queue}.DQ", f"{queue}.XQ") if _exists(broker, name)}


def _exists(broker: Broker, queue: str) -> bool:
    import pika

    connection: Any = pika.BlockingConnection(pika.URLParameters(broker.url))
    try:
        connection.channel().queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    finally:
        connection.close()
    return True
