"""The web side of the shop on Dramatiq: each request sends some work. `--clean` removes it."""

from __future__ import annotations

import sys

from dramatiq import group
from dramatiq.common import dq_name, xq_name

from otel_queue_plugins.cli.demo.shop import dramatiq_worker as shop
from otel_queue_plugins.cli.demo.shop.requests import request, serve


@request("POST /receipts")
def receipts() -> None:
    """One task."""
    shop.send_receipt.send()


@request("POST /payments")
def payments() -> None:
    """One task, which needs two attempts."""
    shop.charge_card.send()


@request("POST /labels")
def labels() -> None:
    """One task, which fails."""
    shop.print_label.send()


@request("POST /reminders")
def reminders() -> None:
    """One task, for later."""
    shop.send_reminder.send_with_options(delay=1000)


@request("POST /orders")
def orders() -> None:
    """Several tasks, one after another."""
    steps = (
        shop.reserve.message()
        | shop.pick.message_with_options(pipe_ignore=True)
        | shop.ship.message_with_options(pipe_ignore=True)
    )
    steps.run()


@request("POST /parcels")
def parcels() -> None:
    """Several tasks at the same time."""
    packing = group([shop.pack.message(parcel) for parcel in range(3)])
    if shop.joins_groups:
        packing.add_completion_callback(shop.ship.message())
    packing.run()


def connect() -> None:
    """Open the connection that the requests send over."""
    if shop.joins_groups:
        shop.broker.client.ping()
    else:
        shop.broker.declare_queue(shop.send_receipt.queue_name, ensure=True)


def clean() -> None:
    """Delete what this run left on the broker."""
    if shop.joins_groups:
        for key in shop.broker.client.scan_iter(f"{shop.broker.namespace}:*"):
            shop.broker.client.delete(key)
        return
    for queue in {actor.queue_name for actor in shop.broker.actors.values()}:
        for name in (queue, dq_name(queue), xq_name(queue)):
            shop.broker.channel.queue_delete(name)


if __name__ == "__main__":
    clean() if "--clean" in sys.argv else serve(connect)
