"""Polls of a worker: with `receive_spans` or the metric of polls, and nothing without."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
from kombu.transport import memory, virtual

from otel_queue_plugins.celery.installation import Installation
from otel_queue_plugins.celery.main_process.fetches import Fetches
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.celery.conftest import (
    Telemetry,
    ids,
    instrumenting,
    linked_ids,
    memory_app,
    running,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

FETCHES, RESULT = "taskqueue.fetches", "taskqueue.fetch.result"


@pytest.fixture(scope="module")
def polled() -> Iterator[Telemetry]:
    """What a plugin exports that records polls."""
    with instrumenting(receive_spans=True, metrics={FETCHES}) as telemetry:
        yield telemetry


@pytest.fixture(scope="module")
def shop(polled: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """A worker with a task."""
    app = memory_app()

    @app.task(shared=False, name="add")
    def add() -> None:
        pass

    with running(app):
        yield app


def count(telemetry: Telemetry, result: str) -> int:
    """How many polls had that result."""
    found = [point for point in telemetry.points(FETCHES) if point.attributes[RESULT] == result]
    return sum(point.value for point in found)


def test_poll_that_returned_message_has_span_that_links_to_its_send(
    shop: Celery, polled: Telemetry
) -> None:
    """It ends when the message is there, not when it is processed. Polls in vain are counted."""
    sent = shop.tasks["add"].delay()
    polled.expect(3)
    queue = shop.conf.task_default_queue
    receive, process = polled.one(f"receive {queue}"), polled.one("process add")
    assert receive.parent is None
    assert linked_ids(receive) == [ids(polled.one("send add"))]
    assert receive.end_time <= process.start_time
    assert receive.attributes["messaging.message.id"] == sent.id
    assert receive.attributes["messaging.system"] == "memory"
    assert receive.attributes["messaging.batch.message_count"] == 1
    assert count(polled, "message") == 1
    until(lambda: count(polled, "empty") > 0)
    (empty,) = (each for each in polled.points(FETCHES) if each.attributes[RESULT] == "empty")
    assert empty.attributes["messaging.destination.name"] == queue


def test_poll_that_raises_is_an_error(
    shop: Celery, polled: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker connects again and goes on."""
    raised: list[int] = []
    get = memory.Channel._get

    def fail_once(channel: Any, queue: str, timeout: Any = None) -> Any:
        if queue == shop.conf.task_default_queue and not raised:
            raised.append(1)
            raise ConnectionResetError("gone")
        return get(channel, queue, timeout)

    with monkeypatch.context() as patching:
        patching.setattr(memory.Channel, "_get", fail_once)
        until(lambda: bool(raised))
    until(lambda: count(polled, "error") == 1)


@pytest.mark.parametrize("asked", [False, True])
def test_functions_of_kombu_are_patched_only_if_asked_for(asked: bool) -> None:
    """Without the options polls cost nothing. What is patched is put back."""
    before = vars(virtual.Channel)["drain_events"]
    telemetry = QueueTelemetry("celery", options=Options(receive_spans=asked))
    installation = Installation(MagicMock(fetches=Fetches(telemetry)))
    installation.install_for_polls(SimpleNamespace(app=memory_app()))
    assert (vars(virtual.Channel)["drain_events"] is not before) is asked
    installation.uninstall()
    assert vars(virtual.Channel)["drain_events"] is before
