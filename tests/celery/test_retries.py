"""Retries: one message, several attempts, no stale headers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from celery import signals
from opentelemetry import baggage, context, trace
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    StatusCode,
    TraceFlags,
    TraceState,
)

from tests.celery.conftest import Telemetry, ids, linked_ids, memory_app, parent_ids, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

OUTCOME = "taskqueue.task.outcome"
CARRIED = ("traceparent", "tracestate", "baggage", "otq")


@pytest.fixture(scope="module")
def shop(module_telemetry: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """Tasks that are retried."""
    app = memory_app()

    @app.task(shared=False, name="stubborn", bind=True, max_retries=3)
    def stubborn(self: Any, times: int, countdown: float = 0) -> dict[str, Any]:
        if self.request.retries < times:
            raise self.retry(exc=ValueError("not yet"), countdown=countdown)
        return dict(baggage.get_all())

    @app.task(
        shared=False,
        name="auto",
        autoretry_for=(KeyError,),
        max_retries=2,
        retry_backoff=False,
        default_retry_delay=0,
    )
    def auto() -> None:
        raise KeyError("gone")

    @app.task(shared=False, name="patient", bind=True, max_retries=0)
    def patient(self: Any, times: int, positional: bool = False) -> None:
        if self.request.retries < times:
            if positional:
                raise self.retry(None, None, None, True, None, 0, 5)
            raise self.retry(countdown=0, max_retries=5)

    @app.task(
        shared=False,
        name="auto_once",
        autoretry_for=(KeyError,),
        max_retries=9,
        retry_kwargs={"max_retries": 1},
        default_retry_delay=0,
    )
    def auto_once() -> None:
        raise KeyError("gone")

    with running(app):
        yield app


def test_attempts_are_siblings_linked_to_the_one_before(shop: Celery, telemetry: Telemetry) -> None:
    """There is one send span, the parent of all attempts; each attempt links to the one before."""
    shop.tasks["stubborn"].delay(2)
    sent, *attempts = telemetry.expect(4)
    assert [parent_ids(attempt) for attempt in attempts] == [ids(sent)] * 3
    first, second, third = attempts
    assert linked_ids(first) == []
    assert linked_ids(second) == [ids(first)]
    assert linked_ids(third) == [ids(second)]
    assert [a.attributes["taskqueue.task.attempt"] for a in attempts] == [1, 2, 3]
    assert [a.attributes["taskqueue.task.max_attempts"] for a in attempts] == [4, 4, 4]
    assert [a.attributes[OUTCOME] for a in attempts] == ["retry", "retry", "success"]
    assert [a.status.status_code for a in attempts] == [StatusCode.UNSET] * 3


def test_retried_attempt_has_delay_and_reason(shop: Celery, telemetry: Telemetry) -> None:
    """As attributes and on the event."""
    shop.tasks["stubborn"].delay(1, countdown=0.25)
    first, second = telemetry.expect(2, "process stubborn")
    assert first.attributes["taskqueue.retry.delay"] == pytest.approx(0.25, abs=0.01)
    assert first.attributes["taskqueue.retry.reason"] == "not yet"
    (event,) = [event for event in first.events if event.name == "taskqueue.retry"]
    assert event.attributes["taskqueue.task.attempt"] == 1
    assert event.attributes["taskqueue.retry.reason"] == "not yet"
    delay = first.attributes["taskqueue.retry.delay"]
    assert event.attributes["taskqueue.retry.delay"] == delay
    assert event.attributes["error.type"] == "ValueError"
    assert second.attributes["taskqueue.task.scheduled_delay"] == pytest.approx(0.25, abs=0.05)
    passed = (second.start_time - first.start_time) / 1e9
    assert second.attributes["taskqueue.task.wait"] <= passed - 0.25 + 0.01


def test_last_attempt_of_autoretry_is_failure(shop: Celery, telemetry: Telemetry) -> None:
    """Autoretry, exhausted: a failure, with the exception that was the reason."""
    shop.tasks["auto"].delay()
    *_, last = telemetry.expect(3, "process auto")
    assert last.attributes[OUTCOME] == "failure"
    assert last.attributes["taskqueue.task.attempt"] == 3
    assert last.attributes["error.type"] == "KeyError"
    assert last.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("positional", [False, True])
def test_max_retries_of_retry_call_is_that_of_attempt(
    shop: Celery, telemetry: Telemetry, positional: bool
) -> None:
    """It holds for the attempt that gives it, not for the next."""
    shop.tasks["patient"].delay(2, positional)
    attempts = telemetry.expect(3, "process patient")
    assert [a.attributes["taskqueue.task.max_attempts"] for a in attempts] == [6, 6, 1]
    assert [a.attributes[OUTCOME] for a in attempts] == ["retry", "retry", "success"]


def test_max_retries_of_autoretry_is_on_first_attempt(shop: Celery, telemetry: Telemetry) -> None:
    """It is in `retry_kwargs` of the task; the attempt beyond it has the reason of giving up."""
    shop.tasks["auto_once"].delay()
    attempts = telemetry.expect(2, "process auto_once")
    assert [a.attributes["taskqueue.task.max_attempts"] for a in attempts] == [2, 2]
    assert attempts[1].attributes[OUTCOME] == "failure"
    assert attempts[1].attributes["taskqueue.retry.reason"] == "max retries exceeded"


def test_wait_after_eta_excludes_the_delay(shop: Celery, telemetry: Telemetry) -> None:
    """A countdown or an ETA is intended; the wait is the time after it."""
    began = datetime.now(timezone.utc)
    shop.tasks["stubborn"].apply_async((0,), eta=began + timedelta(seconds=0.4))
    span = telemetry.one("process stubborn")
    elapsed = (datetime.now(timezone.utc) - began).total_seconds()
    assert span.attributes["taskqueue.task.scheduled_delay"] == pytest.approx(0.4, abs=0.1)
    assert 0 <= span.attributes["taskqueue.task.wait"] < elapsed - 0.4


def _send_with(app: Celery, **remote: Any) -> Any:
    here = SpanContext(77, 88, is_remote=True, trace_flags=TraceFlags(1), **remote)
    carried = baggage.set_baggage("user", "7", trace.set_span_in_context(NonRecordingSpan(here)))
    token = context.attach(carried)
    try:
        return app.tasks["stubborn"].delay(3)
    finally:
        context.detach(token)


@pytest.mark.parametrize("nested", [False, True])
def test_retries_keep_creation_context_and_renew_enqueue_time(
    shop: Celery, telemetry: Telemetry, nested: bool
) -> None:
    """After three retries: the first context, tracestate and baggage, the newest enqueue time.

    `nested`: with another tracer that has copies of them in a header with the name `headers`.
    """
    published: list[dict[str, Any]] = []

    def copy_all(headers: dict[str, Any], **_: Any) -> None:
        if nested:
            copied = {key: headers[key] for key in CARRIED if key in headers}
            headers.setdefault("headers", {}).update(copied, vendor="x")
        published.append({**headers})

    signals.before_task_publish.connect(copy_all)
    try:
        result = _send_with(shop, trace_state=TraceState([("vendor", "1")]))
        assert result.get(timeout=60, interval=0.01) == {"user": "7"}
    finally:
        signals.before_task_publish.disconnect(copy_all)
    telemetry.expect(5)
    assert len(published) == 4
    for key in ("traceparent", "tracestate", "baggage"):
        assert len({headers[key] for headers in published}) == 1, key
    times = [headers["otq"].split(";")[0] for headers in published]
    assert times == sorted(set(times))


def test_context_of_one_message_is_not_in_the_next(shop: Celery, telemetry: Telemetry) -> None:
    """A message without tracestate and baggage, after one with both, has neither."""
    seen: list[dict[str, Any]] = []

    def look(headers: dict[str, Any], **_: Any) -> None:
        seen.append({**headers})

    _send_with(shop, trace_state=TraceState([("vendor", "1")])).get(timeout=60, interval=0.01)
    signals.before_task_publish.connect(look)
    try:
        assert shop.tasks["stubborn"].delay(1).get(timeout=60, interval=0.01) == {}
    finally:
        signals.before_task_publish.disconnect(look)
    assert not any({"tracestate", "baggage"} & set(headers) for headers in seen)
    telemetry.expect(8)


def test_send_with_copied_headers_replaces_our_keys(shop: Celery, telemetry: Telemetry) -> None:
    """Headers that the caller copies from a request are replaced or removed."""
    stale = {"traceparent": f"00-{5:032x}-{6:016x}-01", "tracestate": "a=1", "baggage": "k=v"}
    shop.tasks["stubborn"].apply_async((0,), headers=dict(stale))
    sent, processed = telemetry.expect(2)
    assert ids(sent)[0] != 5
    assert parent_ids(processed) == ids(sent)
    assert not processed.context.trace_state
