"""The actors of the worker: deliver events to the URLs of subscribers."""

from __future__ import annotations

import logging
import os

import dramatiq
import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from otel_queue_plugins.dramatiq import instrument

logger = logging.getLogger(__name__)

BROKER_URL = os.environ.get("BROKER_URL", "redis://localhost:6379/0")

if BROKER_URL.startswith("amqp"):
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=BROKER_URL)
else:
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=BROKER_URL)

dramatiq.set_broker(broker)
instrument(broker)
HTTPXClientInstrumentor().instrument()


class GoneError(Exception):
    """The subscriber is gone for good; trying again is no use."""


@dramatiq.actor(queue_name="events", max_retries=5, min_backoff=500, throws=GoneError)
def deliver(event: dict[str, str], url: str) -> None:
    """Deliver an event. A subscriber that is busy is asked again, one that is gone is not."""
    answer = httpx.post(url, json=event, timeout=10)
    if answer.status_code == httpx.codes.GONE:
        raise GoneError(url)
    answer.raise_for_status()
    logger.info("event %s delivered to %s", event["id"], url)
