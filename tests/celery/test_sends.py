"""Sends: one send span that lasts as long as the call, whether it succeeds or raises."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import signals
from kombu import Connection
from kombu.exceptions import EncodeError, OperationalError
from opentelemetry import baggage, context, trace
from opentelemetry.trace import SpanKind, StatusCode

from tests.celery.conftest import (
    Telemetry,
    ids,
    linked_ids,
    memory_app,
    parent_ids,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery


class RouterError(Exception):
    """What a router raises."""


@pytest.fixture(scope="module")
def shop(module_telemetry: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """A worker with tasks that send others."""
    app = memory_app()

    @app.task(shared=False, name="add")
    def add(x: int = 1, y: int = 1) -> int:
        return x + y

    @app.task(shared=False, name="restock")
    def restock() -> None:
        with pytest.raises(EncodeError):
            add.delay(object())
        add.delay()

    with running(app):
        yield app


@pytest.mark.parametrize("how", ["delay", "apply_async", "send_task", "signature"])
def test_send_by_any_api_has_one_send_and_one_process_span(
    shop: Celery, telemetry: Telemetry, how: str
) -> None:
    """However it is sent: two spans in the caller's trace, each with the attributes of its kind."""
    add = shop.tasks["add"]
    send = {
        "delay": lambda: add.delay(1, 2),
        "apply_async": lambda: add.apply_async((1, 2)),
        "send_task": lambda: shop.send_task("add", (1, 2)),
        "signature": lambda: shop.signature("add", (1, 2)).delay(),
    }[how]
    with telemetry.tracer.start_as_current_span("caller") as caller:
        result = send()
    _, sent, processed = telemetry.expect(3)
    assert parent_ids(sent) == (caller.context.trace_id, caller.context.span_id)
    assert parent_ids(processed) == ids(sent)
    assert linked_ids(processed) == []
    assert (sent.name, sent.kind) == ("send add", SpanKind.PRODUCER)
    assert (processed.name, processed.kind) == ("process add", SpanKind.CONSUMER)
    expected = {
        "messaging.system": "memory",
        "messaging.destination.name": shop.conf.task_default_queue,
        "messaging.message.id": result.id,
        "messaging.message.conversation_id": result.id,
        "taskqueue.framework": "celery",
        "taskqueue.task.name": "add",
    }
    for span in (sent, processed):
        assert expected.items() <= dict(span.attributes).items()
    assert processed.attributes["taskqueue.task.trigger"] == "call"


def test_send_of_unregistered_task_has_send_span(telemetry: Telemetry) -> None:
    """A message that is sent by name to a queue that others read."""
    memory_app().send_task("elsewhere.task", queue="far")
    span = telemetry.one("send elsewhere.task")
    assert span.attributes["messaging.destination.name"] == "far"


def test_send_by_two_apps_has_broker_of_each(telemetry: Telemetry) -> None:
    """Each message has the broker of its own app."""
    memory_app().send_task("a")
    memory_app().send_task("b")
    assert len({span.attributes["messaging.destination.name"] for span in telemetry.expect(2)}) == 2


def test_send_span_is_current_during_publish_only(shop: Celery, telemetry: Telemetry) -> None:
    """Spans of the broker client are inside; later spans are not."""
    seen: list[Any] = []

    class Observed(type(shop.amqp.Producer(Connection("memory://")))):  # type: ignore[misc]
        def publish(self, *args: Any, **kwargs: Any) -> Any:
            with telemetry.tracer.start_as_current_span("LPUSH") as span:
                seen.append(span)
                return super().publish(*args, **kwargs)

    with shop.connection_for_write() as connection:
        shop.tasks["add"].apply_async(producer=Observed(connection))
    sent, command = telemetry.one("send add"), telemetry.one("LPUSH")
    assert parent_ids(command) == ids(sent)
    assert sent.start_time <= command.start_time
    assert command.end_time <= sent.end_time
    assert not trace.get_current_span().get_span_context().is_valid


def _unserialisable(app: Celery) -> None:
    app.tasks["add"].delay(object())


def _away(app: Celery) -> None:
    with Connection("amqp://127.0.0.1:1//", transport_options={"max_retries": 1}) as away:
        app.tasks["add"].apply_async(connection=away, retry=False)


def _refused_by_backend(app: Celery) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("the result backend is away")

    app.backend.on_task_call = refuse
    try:
        app.tasks["add"].delay()
    finally:
        del app.backend.on_task_call


def _refused_by_router(app: Celery) -> None:
    class Router:
        def route(self, *_: object) -> None:
            raise RouterError

    app.send_task("add", router=Router())


def _headers_that_are_none(app: Celery) -> None:
    app.send_task("add", headers=7)


@pytest.mark.parametrize(
    ("send", "error", "kind"),
    [
        (_headers_that_are_none, TypeError, "TypeError"),
        (_unserialisable, EncodeError, "kombu.exceptions.EncodeError"),
        (_away, OperationalError, "kombu.exceptions.OperationalError"),
        (_refused_by_backend, ConnectionError, "ConnectionError"),
        (_refused_by_router, RouterError, "tests.celery.test_sends.RouterError"),
    ],
)
def test_failed_send_has_error(
    shop: Celery, telemetry: Telemetry, send: Any, error: type[Exception], kind: str
) -> None:
    """The caller gets its exception and its context back; the span has ended with status ERROR."""
    with telemetry.tracer.start_as_current_span("caller") as caller:
        token = context.attach(baggage.set_baggage("user", "7"))
        before = context.get_current()
        with pytest.raises(error) as raised:
            send(shop)
        assert context.get_current() == before
        with telemetry.tracer.start_as_current_span("after"):
            pass
        context.detach(token)
    assert not isinstance(raised.value, AssertionError)
    failed, after = telemetry.one("send add"), telemetry.one("after")
    here = (caller.context.trace_id, caller.context.span_id)
    assert parent_ids(failed) == parent_ids(after) == here
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes["error.type"] == kind
    assert [event.name for event in failed.events] == ["exception"]
    points = telemetry.points("messaging.client.sent.messages")
    assert any(point.attributes.get("error.type") == kind for point in points)


def test_failed_send_before_publish_lasts_from_the_call(shop: Celery, telemetry: Telemetry) -> None:
    """Also if Celery raises before it calls its `send_task_message`."""
    asked: list[int] = []

    class Router:
        def route(self, *_: object) -> None:
            asked.append(time.time_ns())
            raise RouterError

    before = time.time_ns()
    with pytest.raises(RouterError):
        shop.send_task("add", router=Router())
    failed = telemetry.one("send add")
    assert before - 1000 <= failed.start_time <= asked[0] < failed.end_time


def test_failed_send_in_task_is_not_current_afterwards(shop: Celery, telemetry: Telemetry) -> None:
    """The next message of the task is its sibling, not its child."""
    shop.tasks["restock"].delay()
    telemetry.expect(5)
    outer = ids(telemetry.one("process restock"))
    failed, sent = telemetry.expect(2, "send add")
    assert failed.status.status_code is StatusCode.ERROR
    assert parent_ids(failed) == parent_ids(sent) == outer


def test_send_with_receiver_that_raises_is_traced(shop: Celery, telemetry: Telemetry) -> None:
    """Celery logs what a receiver of a user raises, and sends; the send is traced."""

    def broken(**_: Any) -> None:
        raise ZeroDivisionError

    signals.before_task_publish.connect(broken)
    try:
        shop.tasks["add"].delay()
    finally:
        signals.before_task_publish.disconnect(broken)
    telemetry.expect(2)


def test_send_inside_a_publish_is_its_child(shop: Celery, telemetry: Telemetry) -> None:
    """A message that is sent while another is published is inside the span of that one."""

    def audit(sender: str, **_: Any) -> None:
        if sender == "add":
            shop.send_task("audit", queue="audit")

    signals.before_task_publish.connect(audit)
    try:
        shop.tasks["add"].delay()
    finally:
        signals.before_task_publish.disconnect(audit)
    telemetry.expect(3)
    assert parent_ids(telemetry.one("send audit")) == ids(telemetry.one("send add"))


def test_thousand_failed_sends_keep_no_memory(telemetry: Telemetry) -> None:
    """A broker that is unreachable for a night costs no memory."""
    app = memory_app()

    @app.task(shared=False, name="add")
    def add(x: object) -> None:
        """Never sent."""

    def fail(times: int) -> None:
        for _ in range(times):
            with pytest.raises(EncodeError):
                add.delay(object())
            telemetry.exporter.clear()

    fail(50)
    gc.collect()
    before = len(gc.get_objects())
    fail(1000)
    gc.collect()
    assert len(gc.get_objects()) - before < 500
