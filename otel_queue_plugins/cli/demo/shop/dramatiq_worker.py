"""The actors of a small shop, on Dramatiq. `DEMO_BROKER_URL` and `DEMO_QUEUE` say where they go."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import dramatiq
from dramatiq.middleware import CurrentMessage, GroupCallbacks

from otel_queue_plugins.dramatiq import instrument

_URL = os.environ["DEMO_BROKER_URL"]
_QUEUE = os.environ["DEMO_QUEUE"]

joins_groups: Final = not _URL.startswith("amqp")


class CardError(Exception):
    """The card gateway did not answer. Trying again may help."""


class AddressError(Exception):
    """The parcel cannot be sent. Trying again does not help."""


def _broker() -> Any:
    """The broker at `DEMO_BROKER_URL`; only on Redis can a group have a completion callback."""
    if not joins_groups:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        return RabbitmqBroker(url=_URL)
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.rate_limits.backends import RedisBackend

    broker = RedisBroker(url=_URL, namespace=_QUEUE)
    broker.add_middleware(GroupCallbacks(RedisBackend(url=_URL)))
    return broker


broker = _broker()
broker.add_middleware(CurrentMessage())
instrument(broker)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=_QUEUE)
def send_receipt() -> None:
    """Goes well."""
    time.sleep(0.04)


@dramatiq.actor(queue_name=_QUEUE, max_retries=2, min_backoff=500, max_backoff=500)
def charge_card() -> None:
    """Goes well on the second attempt."""
    time.sleep(0.06)
    message = CurrentMessage.get_current_message()
    if message is not None and not message.options.get("retries"):
        raise CardError("no answer")


@dramatiq.actor(queue_name=_QUEUE, max_retries=1, min_backoff=500, max_backoff=500)
def print_label() -> None:
    """Fails on both of its attempts and ends as a dead letter."""
    time.sleep(0.03)
    raise AddressError("no such street")


@dramatiq.actor(queue_name=_QUEUE)
def send_reminder() -> None:
    """Goes well, later."""
    time.sleep(0.04)


@dramatiq.actor(queue_name=_QUEUE)
def reserve() -> None:
    """The first step of an order."""
    time.sleep(0.05)


@dramatiq.actor(queue_name=_QUEUE)
def pick() -> None:
    """The second step of an order."""
    time.sleep(0.08)


@dramatiq.actor(queue_name=_QUEUE)
def pack(parcel: int) -> None:
    """One of several parcels that are packed at the same time."""
    time.sleep(0.1 + 0.05 * parcel)


@dramatiq.actor(queue_name=_QUEUE)
def ship() -> None:
    """The end of an order; of parcels, when all of them are packed."""
    time.sleep(0.05)
