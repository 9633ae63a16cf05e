"""The HTTP of real workers: one port for all processes, and numbers that add up to what ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.http_client import Client
from tests.services import free_port

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

CELERY = "tests.brokers.apps.http_celery"
DRAMATIQ = "tests.brokers.apps.http_dramatiq"

on_redis = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


def served(port: int, **more: str) -> dict[str, str]:
    """The environment of a worker that serves at `port`."""
    return {"OTEL_QUEUE_HTTP": str(port), **more}


@on_redis
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_stats_of_celery_add_up_to_what_ran(own_lab: Lab, pool: str) -> None:
    """Also of pool processes that were replaced after each task."""
    port = free_port()
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    one_each = ["--max-tasks-per-child=1"] if pool == "prefork" else []
    own_lab.celery(app, pool=pool, env=served(port), arguments=one_each)
    producer.run("for n in range(12): ok.delay(n)")
    producer.run("fail.delay(); again.delay()")
    client = Client(port)
    found = client.stats_until(
        lambda stats: stats["processed"] == {"failure": 1, "retry": 2, "success": 13}
    )
    assert found["retries"] == 2
    assert found["in_flight"] == {}
    assert found["capacity"] == (1 if pool == "solo" else 2)
    assert found["pool"] == pool
    assert found["framework"] == "celery"
    assert found["unknown"].keys() <= {"telemetry.last_export_ok_at"}


@on_redis
@pytest.mark.parametrize("number", [1, 3])
def test_stats_of_dramatiq_add_up_to_what_ran(own_lab: Lab, number: int) -> None:
    """In all processes of the worker."""
    port = free_port()
    app = own_lab.module(DRAMATIQ)
    producer = own_lab.producer(app)
    own_lab.dramatiq(app, processes=number, threads=2, env=served(port))
    producer.run("for n in range(20): ok.send(n)")
    producer.run("fail.send(); again.send()")
    client = Client(port)
    found = client.stats_until(
        lambda stats: stats["processed"] == {"dead_letter": 2, "retry": 2, "success": 20}
    )
    assert found["retries"] == 2
    assert found["dead_letters"] == 2
    assert found["capacity"] == 2 * number
    assert found["framework"] == "dramatiq"
