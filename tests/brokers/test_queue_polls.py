"""What a poll costs a real broker, and that nobody's traces show it."""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING, Any

import pika
import pytest
import redis
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from redis.connection import AbstractConnection

from otel_queue_plugins.brokers.opening import reader_of_url
from tests.brokers.queues import look_everywhere
from tests.services import queue_name, redis_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

DEPTH = 100_000
FRAMEWORKS = ["celery", "dramatiq"]


@pytest.fixture(scope="module")
def deep(redis_url: str) -> Iterator[str]:
    """A database with 100,000 messages of each framework in one queue."""
    with redis_database(redis_url) as url:
        client = redis.Redis.from_url(url)
        otq = f"{int((time.time() - 60) * 1e6):x}"
        celery = json.dumps(
            {"headers": {"task": "t", "id": "i" * 36, "otq": otq}, "body": "x" * 400}
        )
        dramatiq = json.dumps({"message_id": "i" * 36, "options": {"otel": {"otq": otq}}})
        pipe: Any = client.pipeline(transaction=False)
        for start in range(0, DEPTH, 1000):
            numbers = range(start, start + 1000)
            pipe.lpush("deep", *(celery for _ in numbers))
            pipe.rpush("dramatiq:deep", *numbers)
            pipe.hset("dramatiq:deep.msgs", mapping=dict.fromkeys(numbers, dramatiq))
        pipe.execute()
        yield url
        client.close()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_poll_of_a_deep_queue_costs_as_little_as_that_of_an_empty_one(
    deep: str,
    framework: str,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """At most three round trips for all queues, and microseconds of Redis."""
    reader = reader_of_url(deep, framework)
    (state,) = reader.states(["deep"])
    assert (state.ready, state.unacked) == (DEPTH, 0)
    assert state.oldest_age_s is not None
    assert 60 <= state.oldest_age_s < 120
    client = redis.Redis.from_url(deep)
    before, times = _busy(client), []
    for _ in range(100):
        started = time.perf_counter()
        reader.states(["deep"])
        times.append(time.perf_counter() - started)
    busy = (_busy(client) - before) / 100
    record_property("median_ms", statistics.median(times) * 1e3)
    record_property("redis_us", busy)
    assert busy < 200
    assert min(times) < 0.002
    sent: list[object] = []
    send = AbstractConnection.send_packed_command
    monkeypatch.setattr(
        AbstractConnection,
        "send_packed_command",
        lambda *arguments, **more: (sent.append(1), send(*arguments, **more))[1],
    )
    reader.states(["deep", *(f"other-{number}" for number in range(50))])
    assert len(sent) <= 3
    client.close()
    reader.close()


def _busy(client: redis.Redis) -> float:
    """Microseconds that Redis has spent on commands; that of asking is not counted."""
    found: Any = client.info("commandstats")
    return sum(each["usec"] for name, each in found.items() if name != "cmdstat_info")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_client_instrumentations_of_redis_see_no_poll(
    redis_url: str,
    framework: str,
    tracer_provider: TracerProvider,
    span_exporter: InMemorySpanExporter,
) -> None:
    """A trace for each poll would drown the others; the app's own commands are seen."""
    with redis_database(redis_url) as url:
        RedisInstrumentor().instrument(tracer_provider=tracer_provider)
        try:
            reader = reader_of_url(url, framework)
            look_everywhere(reader, "orders")
            reader.close()
            assert span_exporter.get_finished_spans() == ()
            client = redis.Redis.from_url(url)
            client.llen("orders")
            client.close()
            assert len(span_exporter.get_finished_spans()) == 1
        finally:
            RedisInstrumentor().uninstrument()


def test_client_instrumentations_of_pika_see_nothing(
    amqp_url: str, tracer_provider: TracerProvider, span_exporter: InMemorySpanExporter
) -> None:
    """Neither polls nor what is put back, which goes with the trace that it came with."""
    queue = queue_name()
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
            channel.queue_declare(name)
        channel.basic_publish("", f"{queue}.XQ", json.dumps({"options": {}}).encode())
    PikaInstrumentor().instrument(tracer_provider=tracer_provider)
    try:
        reader = reader_of_url(amqp_url, "dramatiq")
        look_everywhere(reader, queue)
        assert reader.requeue(queue).done == 1
        reader.close()
    finally:
        PikaInstrumentor().uninstrument()
    assert span_exporter.get_finished_spans() == ()
