"""celery-batches: a process span for each message of a batch, with its outcome."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from billiard.einfo import ExceptionInfo
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from billiard.pool import ApplyResult
from celery.concurrency.prefork import TaskPool
from celery.exceptions import SoftTimeLimitExceeded
from celery.result import AsyncResult
from celery.worker.request import Request
from kombu.message import Message

from otel_queue_plugins.celery import instrument
from tests.celery.conftest import (
    Telemetry,
    ids,
    instrumenting,
    linked_ids,
    memory_app,
    parent_ids,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from opentelemetry.sdk.trace import ReadableSpan

celery_batches = pytest.importorskip("celery_batches")

OUTCOME = "taskqueue.task.outcome"
NAME = "process many"


class BatchError(Exception):
    """Raised by a whole batch."""


def shop(body: Callable[..., Any], **options: Any) -> Celery:
    """An app with a task that processes three messages at a time."""
    app = memory_app()

    @app.task(name="other", shared=False)
    def other() -> None:
        pass

    options = {"flush_every": 3, "flush_interval": 0.2, **options}

    @app.task(name="many", shared=False, base=celery_batches.Batches, **options)
    def many(requests: list[Any]) -> Any:
        return body(app, requests)

    return app


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """celery-batches is patched by `instrument`, or when a worker starts."""
    with instrumenting() as telemetry:
        yield telemetry


def process(app: Celery, telemetry: Telemetry, pool: str = "threads") -> list[ReadableSpan]:
    """Send three messages; returns their process spans in the order of the messages."""
    with running(app, pool=pool):
        sent = [app.send_task("many", [number]).id for number in range(3)]
        telemetry.expect(3, NAME)
    spans = telemetry.expect(3, NAME)
    order = {str((span.attributes or {})["messaging.message.id"]): span for span in spans}
    return [order[task_id] for task_id in sent]


def outcomes(spans: list[ReadableSpan]) -> list[Any]:
    """The outcome of each delivery."""
    return [(span.attributes or {})[OUTCOME] for span in spans]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_batch_gives_each_message_a_span_in_its_own_trace(pool: str, telemetry: Telemetry) -> None:
    """What the call sends and traces is inside the first span; the other spans link to it."""

    def body(app: Celery, _requests: list[Any]) -> None:
        with telemetry.tracer.start_as_current_span("work"):
            app.send_task("other")

    spans = process(shop(body), telemetry, pool)
    sends = telemetry.expect(3, "send many")
    assert [parent_ids(span) for span in spans] == [ids(send) for send in sends]
    first, *others = spans
    assert outcomes(spans) == ["success"] * 3
    counts = [(span.attributes or {}).get("messaging.batch.message_count") for span in spans]
    assert counts == [3, None, None]
    assert all(ids(first) in linked_ids(span) for span in others)
    assert {ids(send) for send in sends[1:]} <= set(linked_ids(first))
    work = telemetry.one("work")
    assert parent_ids(work) == ids(first)
    assert parent_ids(telemetry.one("send other")) == ids(work)
    for span in spans:
        attributes = span.attributes or {}
        assert attributes["messaging.destination.name"]
        assert attributes["code.function.name"].endswith("many")
        assert attributes["taskqueue.task.wait"] >= 0
        assert attributes["taskqueue.task.prefetch_wait"] >= 0
        assert "taskqueue.task.max_attempts" not in attributes, "nobody tries them again"


def test_failed_batch_is_failure_of_each_message(telemetry: Telemetry) -> None:
    """celery-batches only logs the error; its log record is unchanged."""
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign]
    logging.getLogger("celery_batches.trace").addHandler(handler)

    def body(_app: Celery, _requests: list[Any]) -> None:
        raise BatchError("broken")

    try:
        spans = process(shop(body), telemetry)
    finally:
        logging.getLogger("celery_batches.trace").removeHandler(handler)
    assert outcomes(spans) == ["failure"] * 3
    for span in spans:
        assert not span.status.is_ok
        assert (span.attributes or {})["exception.message"] == "broken"
        assert "otel_queue_plugins" not in str((span.attributes or {})["exception.stacktrace"])
    [record] = seen
    assert (record.module, record.funcName) == ("trace", "apply_batches_task")


@pytest.mark.parametrize(
    ("options", "error", "outcome", "is_error"),
    [
        ({"throws": (BatchError,)}, BatchError(), "failure", False),
        ({}, SoftTimeLimitExceeded(), "timeout", True),
    ],
)
def test_batch_outcome_is_that_of_a_task(
    options: dict[str, Any], error: Exception, outcome: str, is_error: bool, telemetry: Telemetry
) -> None:
    """An expected exception and a time limit are recorded as for other tasks."""

    def body(_app: Celery, _requests: list[Any]) -> None:
        raise error

    spans = process(shop(body, **options), telemetry)
    assert outcomes(spans) == [outcome] * 3
    assert [span.status.status_code.name == "ERROR" for span in spans] == [is_error] * 3


@pytest.mark.parametrize("fails", [False, True])
def test_marked_message_has_its_own_outcome(fails: bool, telemetry: Telemetry) -> None:
    """Also if the call fails afterwards; the result is stored inside the message's own span."""

    def body(app: Celery, requests: list[Any]) -> None:
        one, two, three = requests
        backend = app.backend
        original = backend.store_result

        def store_result(task_id: str, *args: Any, **kwargs: Any) -> Any:
            with telemetry.tracer.start_as_current_span(f"store {task_id}"):
                return original(task_id, *args, **kwargs)

        backend.store_result = store_result
        backend.mark_as_done(one.id, "done", request=one)
        backend.mark_as_failure(two.id, ValueError("not this one"))
        backend.mark_as_retry(three.id, KeyError("later"))
        backend.mark_as_done("somebody else's", 1)
        if fails:
            raise BatchError

    app = shop(body)
    spans = process(app, telemetry)
    assert outcomes(spans) == ["success", "failure", "retry"]
    assert (spans[1].attributes or {})["exception.message"] == "not this one"
    assert (spans[2].attributes or {})["taskqueue.retry.reason"] == "'later'"
    for span in spans:
        task_id = (span.attributes or {})["messaging.message.id"]
        assert parent_ids(telemetry.one(f"store {task_id}")) == ids(span)
    assert (
        AsyncResult(str((spans[0].attributes or {})["messaging.message.id"]), app=app).get()
        == "done"
    )


def test_batch_that_ends_its_thread_is_lost(telemetry: Telemetry) -> None:
    """In the threads pool no other process records it."""

    def body(_app: Celery, _requests: list[Any]) -> None:
        raise SystemExit(3)

    spans = process(shop(body), telemetry)
    assert outcomes(spans) == ["lost"] * 3


def test_eager_batch_is_one_delivery(telemetry: Telemetry) -> None:
    """An eager call has one message, and stores no results of others."""

    def body(app: Celery, requests: list[Any]) -> int:
        app.backend.mark_as_done(requests[0].id, 1)
        return len(requests)

    app = shop(body)
    assert app.tasks["many"].apply([1]).get() == 1
    [span] = telemetry.expect(1)
    assert (span.attributes or {})[OUTCOME] == "success"


def test_batch_of_uncovered_app_has_no_span() -> None:
    """Also if it is in the same process as a covered app."""
    named, done = memory_app(), threading.Event()
    other = shop(lambda *_: done.set())
    with instrumenting(named) as telemetry, running(other):
        for number in range(3):
            other.send_task("many", [number])
        assert done.wait(60)
    assert telemetry.spans() == []


def test_uninstrument_restores_celery_batches() -> None:
    """A pool finds the function by its name: it is the one that is there, before and after."""
    inside = celery_batches.trace
    before = dict(vars(celery_batches.Batches)), inside.apply_batches_task
    with instrumenting():
        for module in (celery_batches, inside):
            function = module.apply_batches_task
            assert pickle.loads(pickle.dumps(function)) is function  # noqa: S301 - as billiard does
        assert inside.apply_batches_task is not before[1]
    assert (dict(vars(celery_batches.Batches)), inside.apply_batches_task) == before
    assert celery_batches.apply_batches_task is before[1]


class Jobs(TaskPool):
    """A prefork pool with jobs of billiard that never run."""

    def __init__(self) -> None:
        self.options = {"timeout": 9.0}
        self.takes = True

    def apply_async(self, _target: object, *_: Any, **options: Any) -> Any:
        """Accept a batch, which a child has begun two seconds ago."""
        if not self.takes:
            return None
        job = ApplyResult({}, options["callback"], options["accept_callback"])
        job._ack(None, time.monotonic() - 2, 77, None)
        return job


def request_of(app: Celery, number: int) -> Request:
    """A message that has been received."""
    message = Message(
        body=((), {}, {}),
        headers={"id": str(number), "task": "many"},
        delivery_info={"exchange": "", "routing_key": "orders"},
        properties={},
    )
    body, task = ((), {}, {}), app.tasks["many"]
    return Request(message, app=app, task=task, body=body, headers=message.headers, decoded=True)


@pytest.fixture
def app(telemetry: Telemetry) -> Celery:
    """The main process of a worker with a prefork pool."""
    assert not telemetry.spans()
    instrument()._installation.install_in_worker()
    app = shop(lambda *_: None)
    app.tasks["many"]._pool = Jobs()
    return app


def flush(app: Celery) -> Any:
    """Give two messages to the pool."""
    return app.tasks["many"].flush([request_of(app, number) for number in range(2)])


def report(job: Any, error: Exception) -> None:
    """What billiard does when it has lost a job."""
    with pytest.raises(type(error)) as raised:
        raise error
    job._set(None, (False, ExceptionInfo((raised.type, raised.value, raised.tb))))


@pytest.mark.parametrize(
    ("error", "outcome", "seconds"),
    [(WorkerLostError("gone"), "lost", 2.0), (TimeLimitExceeded(1.5), "timeout", 1.5)],
)
def test_batch_of_lost_process_is_recorded_by_main_process(
    error: Exception, outcome: str, seconds: float, app: Celery, telemetry: Telemetry
) -> None:
    """Each message once, with the pid of the lost process, from the start of the batch."""
    report(flush(app), error)
    instrument()._installation.run_worker(lambda: None, None, (), {})
    spans = telemetry.expect(2, NAME)
    assert outcomes(spans) == [outcome] * 2
    for span in spans:
        assert (span.attributes or {})["process.pid"] == 77
        lasted = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        assert lasted == pytest.approx(seconds, abs=0.5 if outcome == "lost" else 0.01)


def test_completed_batch_is_not_recorded_by_main_process(app: Celery, telemetry: Telemetry) -> None:
    """The pool process has recorded it; the messages are acknowledged."""
    acknowledged: list[object] = []
    task = app.tasks["many"]
    task.acks_late = True
    requests = [request_of(app, number) for number in range(2)]
    for request in requests:
        request.acknowledge = lambda: acknowledged.append(1)
    task.flush(requests)._set(None, (True, None))
    instrument()._installation.run_worker(lambda: None, None, (), {})
    assert telemetry.spans() == []
    assert len(acknowledged) == 2


@pytest.mark.parametrize(("acks_late", "outcome"), [(False, "lost"), (True, "retry")])
def test_batch_that_ends_with_its_worker_is_recorded(
    acks_late: bool, outcome: str, app: Celery, telemetry: Telemetry
) -> None:
    """Messages that were not acknowledged are delivered again."""
    app.tasks["many"].acks_late = acks_late
    job = flush(app)
    assert not job.ready()
    instrument()._installation.run_worker(lambda: None, None, (), {})
    assert outcomes(telemetry.expect(2, NAME)) == [outcome] * 2


def test_batch_for_stopped_pool_is_not_recorded(app: Celery, telemetry: Telemetry) -> None:
    """Nor is a batch that never began."""
    app.tasks["many"]._pool.takes = False
    assert flush(app) is None
    app.tasks["many"]._pool.takes = True
    job = flush(app)
    job._time_accepted = None
    report(job, WorkerLostError("gone"))
    assert telemetry.spans() == []
