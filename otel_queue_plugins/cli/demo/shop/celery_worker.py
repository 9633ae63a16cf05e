"""The tasks of a small shop, on Celery. `DEMO_BROKER_URL` and `DEMO_QUEUE` say where they go."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

from otel_queue_plugins.celery import instrument
from otel_queue_plugins.cli.demo.shop import files

_URL = os.environ["DEMO_BROKER_URL"]
_QUEUE = os.environ["DEMO_QUEUE"]

app = Celery("shop")
instrument()


class CardError(Exception):
    """The card gateway did not answer. Trying again may help."""


class AddressError(Exception):
    """The parcel cannot be sent. Trying again does not help."""


def _settings() -> dict[str, Any]:
    """A chord needs results; the memory of the worker holds them, unless Redis is there."""
    settings: dict[str, Any] = {
        "broker_url": _URL,
        "broker_connection_retry_on_startup": True,
        "result_backend": _URL if _URL.startswith("redis") else "cache+memory://",
        "result_expires": 60,
        "task_default_queue": _QUEUE,
    }
    if _URL.startswith("filesystem"):
        files.use()
        folder = Path(os.environ["DEMO_FOLDER"])
        settings["broker_transport_options"] = {
            "data_folder_in": str(folder / "queue"),
            "data_folder_out": str(folder / "queue"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.05,
        }
    return settings


app.conf.update(_settings())


@app.task(name="send_receipt")
def send_receipt() -> None:
    """Goes well."""
    time.sleep(0.04)


@app.task(
    name="charge_card",
    bind=True,
    autoretry_for=(CardError,),
    default_retry_delay=0.5,
    max_retries=2,
)
def charge_card(self: Any) -> None:
    """Goes well on the second attempt."""
    time.sleep(0.06)
    if self.request.retries == 0:
        raise CardError("no answer")


@app.task(
    name="print_label",
    autoretry_for=(AddressError,),
    default_retry_delay=0.5,
    max_retries=1,
)
def print_label() -> None:
    """Fails on both of its attempts."""
    time.sleep(0.03)
    raise AddressError("no such street")


@app.task(name="send_reminder")
def send_reminder() -> None:
    """Goes well, later."""
    time.sleep(0.04)


@app.task(name="reserve")
def reserve() -> None:
    """The first step of an order."""
    time.sleep(0.05)


@app.task(name="pack")
def pack(parcel: int) -> None:
    """The second step, once for each parcel, at the same time."""
    time.sleep(0.1 + 0.05 * parcel)


@app.task(name="ship")
def ship() -> None:
    """The last step, when all parcels are packed."""
    time.sleep(0.05)
