"""The actors of the shop's worker: charge the card, then send the receipt."""

from __future__ import annotations

import logging
import os
import time

import dramatiq
from dramatiq.middleware import CurrentMessage

from otel_queue_plugins.dramatiq import instrument

logger = logging.getLogger(__name__)

BROKER_URL = os.environ.get("BROKER_URL", "redis://localhost:6379/0")

if BROKER_URL.startswith("amqp"):
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=BROKER_URL)
else:
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=BROKER_URL)

broker.add_middleware(CurrentMessage())
dramatiq.set_broker(broker)
instrument(broker)


class GatewayBusyError(Exception):
    """The card gateway is busy; call it again later."""


@dramatiq.actor(queue_name="shop", max_retries=3, min_backoff=1000, max_backoff=1000)
def charge_card(order: str, cents: int) -> str:
    """Charge an order. The gateway is busy at the first attempt, which makes a retry."""
    time.sleep(0.05)
    if not CurrentMessage.get_current_message().options.get("retries"):
        raise GatewayBusyError(f"busy, order {order} not charged")
    return f"{order}: {cents / 100:.2f}"


@dramatiq.actor(queue_name="shop")
def send_receipt(text: str) -> None:
    """Send the text to the customer."""
    time.sleep(0.02)
    logger.info("receipt sent: %s", text)


@dramatiq.actor(queue_name="shop", max_retries=0)
def print_label(order: str, street: str) -> None:
    """Print the label of the parcel. Without an address it fails, and is not retried."""
    if not street:
        raise ValueError(f"order {order} has no address")
    time.sleep(0.02)


@dramatiq.actor(queue_name="shop")
def ask_for_review(order: str) -> None:
    """Ask the customer for a review, some time after the order."""
    time.sleep(0.02)
    logger.info("asked for a review of order %s", order)
