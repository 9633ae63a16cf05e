"""Who comes to a process of Celery's late finds out what it is, and does what was missed."""

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
    """An app with two tasks, of which one has its own way to handle messages."""
    app = memory_app()

    @app.task(name="ok", shared=False)
    def ok() -> None:
        pass

    @app.task(name="own", shared=False, Strategy=strategy)
    def own() -> None:
        pass

    return app


def strategy(*_: Any) -> Callable[..., None]:
    """Handle messages in a way of one's own."""
    return lambda _message, _body, ack, *_: ack()


def test_a_worker_that_runs_in_another_thread_is_found(app: Celery) -> None:
    """What it receives from now on is told in full."""
    with running(app), instrumenting(app) as telemetry:
        app.send_task("ok")
        app.send_task("no.task")
        process, unknown = telemetry.one("process ok"), telemetry.one("process no.task")
        points = telemetry.points("taskqueue.worker.capacity")
    assert (process.attributes or {})["taskqueue.task.prefetch_wait"] >= 0
    assert (unknown.attributes or {})[OUTCOME] == "unknown_task"
    assert [point.value for point in points] == [4]


def test_who_has_a_strategy_of_his_own_keeps_it(app: Celery) -> None:
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
    """A call and those it was made in."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_a_producer_is_nothing_to_celery() -> None:
    """No worker, no pool process, no beat; so nothing is put in place for one."""
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
def test_a_role_is_told_by_the_calls_in_progress(
    kind: type, module: str, method: str, expected: str | None
) -> None:
    """Methods of Celery's and billiard's that last as long as the process has the role."""
    found = in_method_of(kind, module, method)
    assert found.kind == expected
    assert found.in_this_thread == ((expected, method) == ("worker", "start"))


def test_what_goes_wrong_with_it_costs_the_app_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest is in place all the same."""

    def fail() -> Role:
        raise RuntimeError("no frames")

    monkeypatch.setattr(role, "current", fail)
    app = memory_app()
    with instrumenting(app) as telemetry:
        instrument(app)
        app.send_task("a")
        assert telemetry.one("send a")
    assert "join_running_process failed" in caplog.text
