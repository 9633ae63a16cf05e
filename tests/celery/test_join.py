"""`instrument` in a running process finds its role, and does what missed signals would have."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import billiard.pool
import celery.beat
import pytest
from celery.worker.worker import WorkController

from otel_queue_plugins.celery import instrument, role
from otel_queue_plugins.celery.role import Role
from tests.celery.conftest import instrumenting, memory_app, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

OUTCOME = "taskqueue.task.outcome"


@pytest.fixture
def app() -> Celery:
    """An app with two tasks, of which one has its own strategy."""
    app = memory_app()

    @app.task(name="ok", shared=False)
    def ok() -> None:
        pass

    @app.task(name="own", shared=False, Strategy=strategy)
    def own() -> None:
        pass

    return app


def strategy(*_: Any) -> Callable[..., None]:
    """A strategy that only acknowledges."""
    return lambda _message, _body, ack, *_: ack()


def test_instrument_with_worker_in_other_thread_joins_it(app: Celery) -> None:
    """What the worker receives from now on is recorded in full."""
    with running(app), instrumenting(app) as telemetry:
        app.send_task("ok")
        app.send_task("no.task")
        process, unknown = telemetry.one("process ok"), telemetry.one("process no.task")
        points = telemetry.points("taskqueue.worker.capacity")
    assert (process.attributes or {})["taskqueue.task.prefetch_wait"] >= 0
    assert (unknown.attributes or {})[OUTCOME] == "unknown_task"
    assert [point.value for point in points] == [4]


def test_instrument_in_worker_keeps_custom_strategy(app: Celery) -> None:
    """It may hold messages that no other has."""
    with running(app):
        [consumer] = [
            frame.f_locals["self"]
            for first in sys._current_frames().values()
            for frame in calls(first)
            if frame.f_globals["__name__"] == "celery.worker.consumer.consumer"
            and frame.f_code.co_name == "start"
            and hasattr(frame.f_locals["self"], "strategies")
        ]
        before = dict(consumer.strategies)
        with instrumenting(app):
            assert consumer.strategies["own"] is before["own"]
            assert consumer.strategies["ok"] is not before["ok"]


def calls(frame: Any) -> Iterator[Any]:
    """The frame of a call and of its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_role_of_producer_is_none() -> None:
    """It is no worker, no pool process and no beat; so nothing is put in place for one."""
    assert role.current() == Role()
    with instrumenting():
        assert not hasattr(WorkController.start, "__wrapped__")


def in_method_of(kind: type, module: str, method: str) -> Role:
    """The role that a call in a method of that class gives a process."""
    scope: dict[str, Any] = {"__name__": module, "current": role.current}
    exec(f"def {method}(self):\n    return current()", scope)  # noqa: S102 - a frame of that module
    found: list[Role] = []
    thread = threading.Thread(target=lambda: found.append(scope[method](kind.__new__(kind))))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(
    ("kind", "module", "method", "expected"),
    [
        (WorkController, "celery.worker.worker", "__init__", "worker"),
        (WorkController, "celery.worker.worker", "start", "worker"),
        (billiard.pool.Worker, "billiard.pool", "__call__", "pool process"),
        (billiard.pool.Worker, "billiard.pool", "after_fork", None),
        (celery.beat.Service, "celery.beat", "start", "beat"),
        (celery.beat.Service, "celery.beat", "sync", None),
        (dict, "celery.worker.worker", "start", None),
        (WorkController, "elsewhere", "start", None),
    ],
)
def test_role_is_found_in_calls_in_progress(
    kind: type, module: str, method: str, expected: str | None
) -> None:
    """Methods of Celery and billiard that last as long as the process has the role."""
    found = in_method_of(kind, module, method)
    assert found.kind == expected
    assert found.in_this_thread == ((expected, method) == ("worker", "start"))


def test_join_that_raises_leaves_the_rest_in_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged, and sends are traced."""

    def fail() -> Role:
        raise RuntimeError("no frames")

    monkeypatch.setattr(role, "current", fail)
    app = memory_app()
    with instrumenting(app) as telemetry:
        instrument(app)
        app.send_task("a")
        assert telemetry.one("send a")
    assert "join_running_process failed" in caplog.text
