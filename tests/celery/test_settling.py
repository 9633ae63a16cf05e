"""Spans of acks and rejects with the option `settle_spans`, and none without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest
from celery.exceptions import Reject
from celery.worker.request import Request
from kombu.message import Message as BaseMessage
from kombu.transport.virtual import Message
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from otel_queue_plugins.celery.main_process.settlements import Settlements
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.celery.conftest import Telemetry, ids, instrumenting, memory_app, parent_ids, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery


@pytest.fixture(scope="module")
def settled() -> Iterator[Telemetry]:
    """What a plugin with `settle_spans` exports."""
    with instrumenting(settle_spans=True) as telemetry:
        yield telemetry


@pytest.fixture(scope="module")
def shop(settled: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """A worker that knows these tasks, early and late."""
    app = memory_app()

    @app.task(shared=False, name="early")
    def early() -> None:
        pass

    @app.task(shared=False, name="late", acks_late=True)
    def late() -> None:
        pass

    @app.task(shared=False, name="again", bind=True, acks_late=True)
    def again(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(countdown=0.01)

    @app.task(shared=False, name="refuse", acks_late=True)
    def refuse() -> None:
        raise Reject("no")

    deliveries: list[int] = []

    @app.task(shared=False, name="put_back", acks_late=True)
    def put_back() -> None:
        deliveries.append(1)
        if len(deliveries) == 1:
            raise Reject("later", requeue=True)

    with running(app):
        yield app


@pytest.fixture
def exported(settled: Telemetry) -> Telemetry:
    """What is exported in this test."""
    settled.exporter.clear()
    return settled


@pytest.mark.parametrize(
    ("task", "settlements"),
    [
        ("early", ["ack"]),
        ("late", ["ack"]),
        ("again", ["ack", "ack"]),
        ("refuse", ["reject"]),
        ("put_back", ["reject", "ack"]),
    ],
)
def test_each_delivery_has_settle_span_as_child(
    shop: Celery, exported: Telemetry, task: str, settlements: list[str]
) -> None:
    """An ack of success and of what is tried again, a reject of what is refused or put back."""
    shop.tasks[task].apply_async()
    exported.expect(1 + 2 * len(settlements))
    queue = shop.conf.task_default_queue
    processes = exported.spans(f"process {task}")
    settles = [span for span in exported.spans() if span.kind is SpanKind.CLIENT]
    assert [span.name for span in settles] == [f"{verb} {queue}" for verb in settlements]
    assert {parent_ids(span) for span in settles} == {ids(span) for span in processes}
    for span, verb in zip(settles, settlements, strict=True):
        assert span.status.status_code is StatusCode.UNSET
        assert span.links == ()
        expected = {
            "messaging.operation.name": verb,
            "messaging.operation.type": "settle",
            "messaging.destination.name": queue,
            "messaging.message.id": processes[0].attributes["messaging.message.id"],
            "messaging.system": "memory",
            "taskqueue.framework": "celery",
            "taskqueue.task.name": task,
        }
        assert expected.items() <= span.attributes.items()


@pytest.mark.parametrize(
    ("task", "options", "settlement"),
    [("gone", {}, "reject"), ("early", {"expires": -1}, "ack")],
)
def test_message_that_no_task_processes_has_settle_span_as_child(
    shop: Celery, exported: Telemetry, task: str, options: dict[str, Any], settlement: str
) -> None:
    """An unknown task, and a message that has expired."""
    shop.send_task(task, **options)
    exported.expect(3)
    process = exported.one(f"process {task}")
    (settle,) = (span for span in exported.spans() if span.kind is SpanKind.CLIENT)
    assert settle.name == f"{settlement} {shop.conf.task_default_queue}"
    assert parent_ids(settle) == ids(process)


def test_ack_that_raises_is_error_and_its_span_is_current(
    shop: Celery, exported: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Celery logs and goes on after is the status of the span."""
    seen: list[trace.Span] = []

    def ack(message: Any, multiple: bool = False) -> None:  # noqa: ARG001
        seen.append(trace.get_current_span())
        raise ConnectionResetError("gone")

    with monkeypatch.context() as patching:
        patching.setattr(BaseMessage, "ack", ack)
        shop.tasks["early"].delay()
        exported.expect(3)
    (settle,) = (span for span in exported.spans() if span.kind is SpanKind.CLIENT)
    assert settle.status.status_code is StatusCode.ERROR
    assert settle.attributes["error.type"] == "ConnectionResetError"
    assert [span.get_span_context().span_id for span in seen] == [ids(settle)[1]]


def test_nothing_is_wrapped_by_default() -> None:
    """Without the option neither requests nor messages have other methods."""
    deliveries: Any = None
    settlements = Settlements(QueueTelemetry("celery"), deliveries)
    message = Message({"properties": {"delivery_tag": "1"}}, channel=MagicMock())
    settlements.observe(message, ProcessOperation())
    assert settlements.methods(Request) == {}
    assert not {"ack", "reject"} & vars(message).keys()
