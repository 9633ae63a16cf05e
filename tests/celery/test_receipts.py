"""Receipts: what is attached to a request on its way to the pool."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from celery.concurrency.prefork import TaskPool as Prefork
from celery.concurrency.solo import TaskPool as Solo
from celery.worker import strategy
from celery.worker.request import Request
from kombu.message import Message

from otel_queue_plugins.celery import instrument, translation
from otel_queue_plugins.celery.main_process.receipts import Receipts
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.celery.conftest import Telemetry, instrumenting, memory_app

if TYPE_CHECKING:
    from collections.abc import Iterator


class Apart(Prefork):
    """A prefork pool of a worker with a time limit of nine seconds."""

    def __init__(self) -> None:
        self.options = {"timeout": 9.0}

    def apply_async(self, *_: Any, **__: Any) -> None:
        """Run nothing."""


class Here(Solo):
    """A pool in this process."""

    def __init__(self) -> None:
        self.options = {"timeout": 9.0}

    def apply_async(self, *_: Any, **__: Any) -> None:
        """Run nothing."""


def hold() -> None:
    """Never run."""


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry of the main process of a worker."""
    with instrumenting() as telemetry:
        instrument()._installation.install_in_worker()
        yield telemetry


def handed_to(pool: Any, received_at: float, limit: float | None = None) -> Request:
    """The request of a message, after it was given to `pool`."""
    app = memory_app()
    app.task(name="hold", shared=False, time_limit=limit)(hold)
    app.finalize()
    task = app.tasks["hold"]
    made = strategy.create_request_cls(Request, task, pool, "worker", None)
    message = Message(
        body=((), {}, {}), headers={"id": "1", "task": "hold"}, properties={"priority": 3}
    )
    Receipts(QueueTelemetry("celery"), bool).strategy(lambda: print, None, (), {})(message)
    assert received_at <= message.otel_queue_received_at <= time.time()
    body = ((), {}, {})
    request = made(message, app=app, task=task, body=body, headers=message.headers, decoded=True)
    request.execute_using_pool(pool)
    assert message.properties == {"priority": 3}, "what a broker may get back is as it was"
    assert request.request_dict["properties"]["priority"] == 3
    return request


@pytest.mark.parametrize(("limit", "in_force"), [(None, 9.0), (2.0, 2.0)])
def test_receipt_for_pool_process_has_time_span_id_and_limit(
    telemetry: Telemetry, limit: float | None, in_force: float
) -> None:
    """The time of the receipt, the id of the span, and the time limit that the pool enforces."""
    before = time.time()
    at, span_id, time_limit = translation.receipt(handed_to(Apart(), before, limit).request_dict)
    assert at is not None
    assert before <= at <= time.time()
    assert span_id
    assert time_limit == in_force
    assert not telemetry.spans()


def test_receipt_in_same_process_has_no_time_limit(telemetry: Telemetry) -> None:
    """There the process of a task cannot die alone; code that handles it uses the span id."""
    at, span_id, time_limit = translation.receipt(handed_to(Here(), time.time()).request_dict)
    assert at is not None
    assert span_id
    assert time_limit is None
    assert not telemetry.spans()


def test_message_without_attribute_for_receipt_is_handled() -> None:
    """A broker client may have messages of its own class."""
    seen: list[object] = []
    handle = Receipts(QueueTelemetry("celery"), bool).strategy(lambda: seen.append, None, (), {})
    message = object()
    handle(message)
    assert seen == [message]
