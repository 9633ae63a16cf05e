"""Eager tasks: a process span in the caller's trace, and nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group
from celery.exceptions import Retry
from opentelemetry import context

from otel_queue_plugins.core.operation import current_delivery
from tests.celery.conftest import Telemetry, ids, memory_app, parent_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

OUTCOME = "taskqueue.task.outcome"


@pytest.fixture
def shop(telemetry: Telemetry) -> Iterator[Celery]:
    """An app that runs tasks where they are called, with no broker at all."""
    app = memory_app(task_always_eager=True, task_store_eager_result=False)

    @app.task(shared=False, name="add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    @app.task(shared=False, name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(shared=False, name="outer")
    def outer() -> int:
        with telemetry.tracer.start_as_current_span("body"):
            return int(add.delay(1, 1).get(disable_sync_subtasks=False))

    @app.task(shared=False, name="again", bind=True, max_retries=2)
    def again(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(exc=ValueError("not yet"), countdown=0)
        return 1

    @app.task(shared=False, name="swap", bind=True)
    def swap(self: Any) -> Any:
        return self.replace(add.s(1, 1))

    @app.task(shared=False, name="fail")
    def fail() -> None:
        raise ValueError("boom")

    @app.task(shared=False, name="mourn")
    def mourn(request: Any, error: Any, traceback: Any) -> None:
        """Called inline."""

    yield app
    assert not context.get_current()
    assert current_delivery.get() is None


def test_eager_run_is_span_in_callers_trace(shop: Celery, telemetry: Telemetry) -> None:
    """There is no message, so no send span; the run is a child of the current span."""
    with telemetry.tracer.start_as_current_span("caller") as caller:
        assert shop.tasks["add"].delay(1, 2).get() == 3
    run = telemetry.one("process add")
    assert parent_ids(run) == (caller.context.trace_id, caller.context.span_id)
    assert run.attributes[OUTCOME] == "success"
    assert not telemetry.spans("send add")
    assert "taskqueue.task.wait" not in run.attributes


def test_apply_without_always_eager_is_traced(shop: Celery, telemetry: Telemetry) -> None:
    """`apply()` runs the task in the caller, whatever the settings are."""
    shop.conf.task_always_eager = False
    shop.tasks["add"].apply((1, 2), otel_relation="link")
    telemetry.one("process add")


def test_eager_run_inside_a_run_is_its_child(shop: Celery, telemetry: Telemetry) -> None:
    """A task that is called by a task is inside the span that called it."""
    shop.tasks["outer"].delay()
    outer, body, inner = telemetry.expect(3)
    assert parent_ids(body) == ids(outer)
    assert parent_ids(inner) == ids(body)


def test_eager_retries_are_attempts_with_same_id(shop: Celery, telemetry: Telemetry) -> None:
    """Celery runs them one after the other, each with its own outcome."""
    shop.tasks["again"].delay()
    runs = telemetry.expect(3)
    assert [run.attributes[OUTCOME] for run in runs] == ["retry", "retry", "success"]
    assert [run.attributes["taskqueue.task.attempt"] for run in runs] == [1, 2, 3]
    assert len({run.attributes["messaging.message.id"] for run in runs}) == 1


def test_eager_replaced_task_contains_its_replacement(shop: Celery, telemetry: Telemetry) -> None:
    """`replace()` runs a task with the same id inside."""
    shop.tasks["swap"].delay()
    outer, inner = telemetry.expect(2)
    assert (outer.name, inner.name) == ("process swap", "process add")
    assert parent_ids(inner) == ids(outer)


@pytest.mark.parametrize("propagates", [False, True])
def test_eager_failure_is_recorded(shop: Celery, telemetry: Telemetry, propagates: bool) -> None:
    """Also if Celery raises the exception to the caller."""
    shop.conf.task_eager_propagates = propagates
    if propagates:
        with pytest.raises(ValueError, match="boom"):
            shop.tasks["fail"].delay()
    else:
        shop.tasks["fail"].delay()
    assert telemetry.one("process fail").attributes[OUTCOME] == "failure"


def test_eager_retry_with_throw_ends_the_call(shop: Celery, telemetry: Telemetry) -> None:
    """With `throw`, the first attempt ends the call."""
    with pytest.raises((Retry, ValueError)):
        shop.tasks["again"].apply(throw=True)
    assert len(telemetry.spans()) >= 1


def test_eager_workflows_are_in_callers_trace(shop: Celery, telemetry: Telemetry) -> None:
    """Canvas and errbacks: every run is a span of the caller's trace."""
    add, total = shop.tasks["add"], shop.tasks["total"]
    with telemetry.tracer.start_as_current_span("caller"):
        chain(add.s(1, 1), add.s(1)).delay()
        group(add.s(1, 1), add.s(2, 2)).delay()
        chord([add.s(1, 1), add.s(2, 2)], total.s()).delay()
        shop.tasks["fail"].apply_async(link_error=shop.tasks["mourn"].s())
    assert len({ids(span)[0] for span in telemetry.expect(10)}) == 1
    assert parent_ids(telemetry.one("process mourn")) == ids(telemetry.one("process fail"))
