"""A task that a worker ends is recorded once, by its pool process or by the main process."""

from __future__ import annotations

import gc
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import Terminated, TimeLimitExceeded
from billiard.process import current_process
from celery import signals
from celery.concurrency.prefork import TaskPool
from celery.exceptions import Ignore, Reject
from celery.worker import strategy
from celery.worker.request import Request
from kombu.message import Message
from opentelemetry import trace

from otel_queue_plugins.celery import instrument, translation
from otel_queue_plugins.celery.deliveries import UnrecordedRuntime
from otel_queue_plugins.celery.main_process.exit_times import ExitTimes
from tests.celery.conftest import Telemetry, instrumenting, memory_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from opentelemetry.sdk.trace import ReadableSpan

OUTCOME = "taskqueue.task.outcome"


class Job:
    """The job of a pool: its callbacks, and whether it has called one."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.is_set = False

    def ready(self) -> bool:
        """Whether the pool has reported."""
        return self.is_set

    def terminate(self, signum: int) -> None:
        """Called by Celery for jobs that it cancels."""

    def report(self, callback: str, value: object) -> None:
        """What the result handler of a pool does."""
        self.is_set = True
        self.options[callback](value)


class Pool(TaskPool):
    """A prefork pool whose only child is the test."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.reports_at_once = False

    def apply_async(self, _target: object, **options: Any) -> Job:
        """Accept a task and report that a child has begun it."""
        self.jobs.append(Job(options))
        options["accept_callback"](os.getpid() + 1, time.monotonic())
        return self.jobs[-1]

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Send the signal; the thread of the result handler may be faster than the caller."""
        assert pid == os.getpid() + 1
        if self.reports_at_once:
            self.jobs[-1].report("error_callback", terminated(signal or 15))


class Greenlets:
    """A pool of greenlets, in this process."""

    def apply_async(self, _target: object, **options: Any) -> None:
        """Accept a task and report that it has begun."""
        options["accept_callback"](id(self), time.monotonic())

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Kill a greenlet."""
        assert (pid, signal) == (id(self), 15)


class Worker:
    """The main process of a worker, without the worker."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.pool: Any = Pool()
        self.task = app.tasks["hold"]

    def run(self) -> Any:
        """Receive a message and give it to the pool."""
        made = strategy.create_request_cls(Request, self.task, self.pool, "worker", None)
        message = Message(
            body=((), {}, {}),
            headers={"id": "1", "task": "hold"},
            delivery_info={"exchange": "", "routing_key": "orders"},
            properties={},
        )
        request = made(
            message,
            app=self.app,
            task=self.task,
            body=((), {}, {}),
            headers=message.headers,
            decoded=True,
        )
        request.execute_using_pool(self.pool)
        return request

    def end(self) -> None:
        """What the worker does when it has stopped its pool."""
        plugin = instrument()
        plugin._installation.run_worker(lambda: None, self, (), {})


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry of the main process of a worker."""
    with instrumenting() as telemetry:
        instrument()._installation.install_in_worker()
        yield telemetry


@pytest.fixture
def worker(telemetry: Telemetry) -> Worker:
    """A worker that is connected to its broker."""
    assert not telemetry.spans()
    return Worker(app_with_hold())


def app_with_hold() -> Celery:
    """An app with the task that the workers have."""
    app = memory_app()

    @app.task(name="hold", shared=False)
    def hold() -> None:
        raise AssertionError

    app.finalize()
    return app


def terminated(signum: int = 15) -> ExceptionInfo:
    """What billiard reports for a task whose child was terminated."""
    return info_of(Terminated(-signum))


def info_of(error: Exception) -> ExceptionInfo:
    """What billiard makes of an exception."""
    with pytest.raises(type(error)) as raised:
        raise error
    return ExceptionInfo((raised.type, raised.value, raised.tb))


def processed(telemetry: Telemetry) -> list[ReadableSpan]:
    """The process spans of this process; a child's are its own."""
    return telemetry.spans("process hold")


def test_cancelled_task_with_earlier_result_is_recorded_by_child(
    worker: Worker, telemetry: Telemetry
) -> None:
    """Its result may arrive after the task was cancelled: its span is the only one."""
    request = worker.run()
    request.cancel(worker.pool)
    worker.pool.jobs[0].report("callback", (0, None, 0.1))
    worker.end()
    assert processed(telemetry) == []


def test_cancelled_task_with_unrecorded_result_is_recorded_once(
    worker: Worker, telemetry: Telemetry
) -> None:
    """A pool process that got the signal leaves the result to the main process to record."""
    request = worker.run()
    request.cancel(worker.pool)
    worker.pool.jobs[0].report("callback", (0, None, UnrecordedRuntime(0.1)))
    worker.end()
    [span] = processed(telemetry)
    assert (span.attributes or {})[OUTCOME] == "success"


@pytest.mark.parametrize("acknowledged", [True, False])
def test_cancelled_task_of_ended_child_is_recorded_by_main_process(
    worker: Worker, telemetry: Telemetry, acknowledged: bool
) -> None:
    """When the pool reports that it is gone, with the outcome of the message."""
    request = worker.run()
    request.acknowledged = acknowledged
    request.cancel(worker.pool)
    assert processed(telemetry) == []
    worker.pool.jobs[0].report("error_callback", terminated())
    worker.end()
    [span] = processed(telemetry)
    assert (span.attributes or {})[OUTCOME] == ("lost" if acknowledged else "retry")


def test_cancelled_task_reported_before_announcement_is_recorded_once(
    worker: Worker, telemetry: Telemetry
) -> None:
    """The pool reports in a thread of its own, maybe before Celery announces anything."""
    worker.pool.reports_at_once = True
    worker.run().cancel(worker.pool)
    worker.end()
    assert len(processed(telemetry)) == 1


def test_cancelled_task_without_report_is_recorded_when_worker_ends(
    worker: Worker, telemetry: Telemetry
) -> None:
    """After the worker has ended, nothing else would record it."""
    worker.run().cancel(worker.pool)
    assert processed(telemetry) == []
    worker.end()
    worker.end()
    [span] = processed(telemetry)
    assert (span.attributes or {})[OUTCOME] == "lost"
    assert (span.attributes or {})["process.pid"] == os.getpid() + 1


def test_cancelled_task_in_this_process_is_recorded_where_it_runs(
    worker: Worker, telemetry: Telemetry
) -> None:
    """The tracer of a killed greenlet records its end."""
    worker.pool = Greenlets()
    worker.run().cancel(worker.pool)
    worker.end()
    assert processed(telemetry) == []


def test_cancelled_task_is_released_with_its_job(worker: Worker, telemetry: Telemetry) -> None:
    """A worker may lose its connection every hour for years, and its memory does not grow."""
    for number in range(100):
        worker.run().cancel(worker.pool)
        job = worker.pool.jobs.pop()
        if number % 2:
            job.report("callback", (0, None, 0.1))
        else:
            job.report("error_callback", terminated())
    assert len(processed(telemetry)) == 50
    worker.end()
    assert len(processed(telemetry)) == 50


def end_of(span: ReadableSpan) -> float:
    """Seconds since the epoch."""
    return (span.end_time or 0) / 1e9


def test_late_result_has_the_time_of_its_end(worker: Worker, telemetry: Telemetry) -> None:
    """The main process may read it some time after the task has ended."""
    request = worker.run()
    request.time_start = time.time() - 9
    request.cancel(worker.pool)
    result = UnrecordedRuntime(0.1)
    result.ended_at = time.time() - 5
    worker.pool.jobs[0].report("callback", (0, None, result))
    [span] = processed(telemetry)
    assert end_of(span) == pytest.approx(result.ended_at, abs=1e-3)


def test_terminated_task_has_the_end_that_its_child_wrote(
    worker: Worker, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends later: it cleans up, and exports its telemetry."""
    monkeypatch.setattr(current_process(), "index", 7, raising=False)
    exits = instrument()._parts.shared.exit_times
    request = worker.run()
    request.terminate(worker.pool)
    before = time.time()
    exits.write(translation.receipt(request.request_dict)[1])
    after = time.time()
    time.sleep(0.05)
    worker.pool.jobs[0].report("error_callback", terminated())
    [span] = processed(telemetry)
    assert before - 1e-3 < end_of(span) < after + 1e-3
    assert (span.attributes or {})[OUTCOME] == "revoked"


def test_exit_time_without_shared_memory_or_pool_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without shared memory, outside of a pool, and for a delivery without a span id."""
    exits = ExitTimes()
    exits.write(5)
    assert exits.read(5) is None
    exits.share()
    exits.write(5)
    monkeypatch.setattr(current_process(), "index", 7, raising=False)
    exits.write(None)
    assert [exits.read(5), exits.read(None)] == [None, None]


@pytest.mark.parametrize("ways", [("callback", (0, None, 0.1)), None])
def test_terminated_task_is_recorded_once(
    ways: tuple[str, object] | None, worker: Worker, telemetry: Telemetry
) -> None:
    """By the child if it had completed; else here, if the pool reports nothing before it ends."""
    worker.run().terminate(worker.pool)
    if ways is not None:
        worker.pool.jobs[0].report(*ways)
    worker.end()
    outcomes = [(span.attributes or {})[OUTCOME] for span in processed(telemetry)]
    assert outcomes == ([] if ways else ["revoked"])


def test_terminated_task_reported_before_announcement_is_recorded_once(
    worker: Worker, telemetry: Telemetry
) -> None:
    """As for a cancelled task."""
    worker.pool.reports_at_once = True
    worker.run().terminate(worker.pool)
    worker.end()
    [span] = processed(telemetry)
    assert (span.attributes or {})[OUTCOME] == "revoked"


def test_time_limit_without_announcement_is_recorded_when_worker_ends(
    worker: Worker, telemetry: Telemetry
) -> None:
    """Celery usually calls hooks first; without them the span must not be lost."""
    request = worker.run()
    request.time_start = time.time() - 9
    worker.pool.jobs[0].report("error_callback", info_of(TimeLimitExceeded(2.0)))
    assert processed(telemetry) == []
    worker.end()
    [span] = processed(telemetry)
    assert (span.attributes or {})[OUTCOME] == "timeout"
    assert end_of(span) == pytest.approx(request.time_start + 2, abs=1e-3)


def test_request_hook_that_raises_is_recorded(worker: Worker, telemetry: Telemetry) -> None:
    """The delivery is recorded, and the exception is Celery's to handle."""

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no backend")

    worker.task.backend.mark_as_retry = worker.task.backend.mark_as_revoked = refuse
    for end in ("cancel", "terminate"):
        with pytest.raises(RuntimeError):
            getattr(worker.run(), end)(worker.pool)
    worker.end()
    outcomes = [(span.attributes or {})[OUTCOME] for span in processed(telemetry)]
    assert sorted(outcomes) == ["lost", "revoked"]


def test_cancelled_task_of_uncovered_app_has_no_span() -> None:
    """A worker of another app in the same process."""
    named = memory_app()
    with instrumenting(named) as telemetry:
        installation = instrument(named)._installation
        installation.install_in_worker()
        worker = Worker(app_with_hold())
        for end in ("cancel", "terminate"):
            getattr(worker.run(), end)(worker.pool)
            worker.pool.jobs[-1].report("error_callback", terminated())
        installation.run_worker(lambda: None, worker, (), {})
        assert telemetry.spans() == []


def test_task_of_deleted_job_is_recorded(worker: Worker, telemetry: Telemetry) -> None:
    """Celery before 5.5 has the pool delete all jobs when the connection is lost."""
    request = worker.run()
    request.cancel(worker.pool)
    assert processed(telemetry) == []
    worker.pool.jobs.clear()
    gc.collect()
    [span] = processed(telemetry)
    assert (span.attributes or {})[OUTCOME] == "lost"
    worker.end()
    assert len(processed(telemetry)) == 1


@pytest.mark.parametrize("error", [ValueError("broken"), Reject("unwanted"), Ignore()])
def test_delivery_recorded_by_child_is_not_recorded_again(
    error: Exception, worker: Worker, telemetry: Telemetry
) -> None:
    """Receivers that Celery calls for it here are inside the span of the child."""
    inside: list[int] = []

    def handler(**_: Any) -> None:
        inside.append(trace.get_current_span().get_span_context().span_id)

    request = worker.run()
    signals.task_failure.connect(handler)
    try:
        worker.pool.jobs[0].report("callback", (1, info_of(error), 0.1))
    finally:
        signals.task_failure.disconnect(handler)
    worker.end()
    assert processed(telemetry) == []
    assert set(inside) <= {translation.receipt(request.request_dict)[1]}
