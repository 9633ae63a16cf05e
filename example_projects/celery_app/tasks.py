"""The tasks of the shop's worker: charge the card, then send the receipt."""

from __future__ import annotations

import logging
import os
import time

from celery import Celery

from otel_queue_plugins.celery import instrument

logger = logging.getLogger(__name__)

app = Celery("shop", broker=os.environ.get("BROKER_URL", "redis://localhost:6379/0"))
app.conf.task_ignore_result = True

instrument()


class GatewayBusyError(Exception):
    """The card gateway is busy; call it again later."""


@app.task(
    name="charge_card",
    bind=True,
    autoretry_for=(GatewayBusyError,),
    default_retry_delay=1,
    max_retries=3,
)
def charge_card(self, order: str, cents: int) -> str:
    """Charge an order. The gateway is busy at the first attempt, which makes a retry."""
    time.sleep(0.05)
    if self.request.retries == 0:
        raise GatewayBusyError(f"busy, order {order} not charged")
    return f"{order}: {cents / 100:.2f}"


@app.task(name="send_receipt")
def send_receipt(text: str) -> None:
    """Send the text to the customer."""
    time.sleep(0.02)
    logger.info("receipt sent: %s", text)


@app.task(name="ask_for_review")
def ask_for_review(order: str) -> None:
    """Ask the customer for a review, some time after the order."""
    time.sleep(0.02)
    logger.info("asked for a review of order %s", order)
