"""The web side of the shop on Celery: each request sends some work. `--clean` removes the queue."""

from __future__ import annotations

import sys

from celery import chain, group

from otel_queue_plugins.cli.demo.shop import celery_worker as shop
from otel_queue_plugins.cli.demo.shop.requests import request, serve


@request("POST /receipts")
def receipts() -> None:
    """One task."""
    shop.send_receipt.delay()


@request("POST /payments")
def payments() -> None:
    """One task, which needs two attempts."""
    shop.charge_card.delay()


@request("POST /labels")
def labels() -> None:
    """One task, which fails."""
    shop.print_label.delay()


@request("POST /reminders")
def reminders() -> None:
    """One task, for later."""
    shop.send_reminder.apply_async(countdown=1)


@request("POST /orders")
def orders() -> None:
    """One task, then three at the same time, then one."""
    parcels = group(shop.pack.si(parcel) for parcel in range(3))
    chain(shop.reserve.si(), parcels, shop.ship.si()).delay()


def connect() -> None:
    """Open the connection that the requests send over."""
    with shop.app.producer_pool.acquire(block=True) as producer:
        producer.declare()


def clean() -> None:
    """Delete the queue of this run from the broker; kombu forgets only bindings it has made."""
    with shop.app.connection_for_write() as connection:
        queue = shop.app.amqp.queues[shop.app.conf.task_default_queue]
        bound = queue(connection.default_channel)
        bound.declare()
        bound.delete()


if __name__ == "__main__":
    clean() if "--clean" in sys.argv else serve(connect)
