"""The harness itself, with plain apps: no instrumentation, and one manual span in each task."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.processes import ProcessError, wait_for_end
from tests.receiver import GrpcReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import Lab
    from tests.brokers.harness_producer import Producer

CELERY_APP = """
    import os

    from celery import Celery
    from tests.brokers.apps.by_hand import record_span
    from tests.brokers.apps.settings import celery_settings

    app = Celery("plain")
    app.conf.update(celery_settings())

    @app.task(name="note")
    def note(text):
        record_span("noted", text=text, pid=str(os.getpid()))
"""

DRAMATIQ_APP = """
    import os

    import dramatiq
    from tests.brokers.apps.by_hand import record_span
    from tests.brokers.apps.settings import QUEUE, dramatiq_broker

    broker = dramatiq_broker()

    @dramatiq.actor(queue_name=QUEUE)
    def note(text):
        record_span("noted", text=text, pid=str(os.getpid()))
"""


CHORD_APP = """
    from celery import Celery, chord
    from tests.brokers.apps.settings import celery_settings

    app = Celery("plain")
    app.conf.update(celery_settings(task_ignore_result=False))

    @app.task(name="add")
    def add(x, y):
        return x + y

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)
"""

SCRIPT = """
    from {module} import note

    note.delay("by script")
    print("sent")
"""


@pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
def celery_producer(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Producer]:
    """A plain Celery worker of each pool, and a producer."""
    app = lab.app(CELERY_APP)
    producer = lab.producer(app)
    lab.celery(app, pool=request.param)
    yield producer
    lab.close()


@pytest.fixture(scope="module")
def dramatiq_producer(lab: Lab) -> Iterator[Producer]:
    """A plain Dramatiq worker of two processes, and a producer."""
    app = lab.app(DRAMATIQ_APP)
    producer = lab.producer(app)
    lab.dramatiq(app, processes=2, threads=1)
    yield producer
    lab.close()


@pytest.mark.parametrize("text", ["first", "second"])
def test_span_of_celery_task_arrives(
    celery_producer: Producer, lab: Lab, text: str, request: pytest.FixtureRequest
) -> None:
    """A task sent by a producer process runs in the worker; tests share both."""
    text = f"{text} {request.node.name}"
    sent = celery_producer.run(f"result = note.delay({text!r}).id")
    span = lab.receiver.expect_span("noted", text=text)
    assert len(sent.result) == 36
    assert span.service == "worker"
    assert int(span.attributes["pid"]) != celery_producer.process.pid


@pytest.mark.parametrize("text", ["first", "second"])
def test_span_of_dramatiq_message_arrives(dramatiq_producer: Producer, lab: Lab, text: str) -> None:
    """A message sent by a producer process runs in the worker."""
    dramatiq_producer.run(f"note.send({text!r})")
    assert lab.receiver.expect_span("noted", text=text).service == "worker"


def test_snippet_runs_in_trace_of_caller_only(celery_producer: Producer) -> None:
    """Its context is the one that `run` returns, or none."""
    code = """
        from opentelemetry import baggage, trace
        span = trace.get_current_span().get_span_context()
        result = [f"{span.trace_id:032x}", f"{span.span_id:016x}", int(span.trace_flags)]
        result.append(baggage.get_baggage("user"))
    """
    sent = celery_producer.run(code, carrier={"baggage": "user=7"})
    assert sent.result == [sent.trace_id, sent.span_id, 1, "7"]
    assert celery_producer.run(code, sampled=False).result[2:] == [0, None]
    assert celery_producer.run(code, caller=False).result == ["0" * 32, "0" * 16, 0, None]


def test_snippet_that_raises_fails_test_with_traceback(celery_producer: Producer) -> None:
    """The producer goes on, and the test fails with the reason."""
    with pytest.raises(ProcessError, match="ZeroDivisionError"):
        celery_producer.run("1 / 0")
    assert celery_producer.run("result = 1").result == 1


def test_celery_worker_stopped_with_term_leaves_no_process(own_lab: Lab) -> None:
    """`stop` waits for the children as well."""
    worker = own_lab.celery(own_lab.app(CELERY_APP))
    children = worker.children()
    assert len(children) == 2
    assert worker.stop() == 0
    wait_for_end(*children, timeout=30)


def test_dramatiq_worker_stopped_with_term_leaves_no_process(own_lab: Lab) -> None:
    """`stop` waits for the children as well."""
    worker = own_lab.dramatiq(own_lab.app(DRAMATIQ_APP))
    children = worker.children()
    assert children
    assert worker.stop() == 0
    wait_for_end(*children, timeout=30)


def test_killed_worker_returns_signal(own_lab: Lab) -> None:
    """The return code is the signal; the whole process group ends."""
    worker = own_lab.celery(own_lab.app(CELERY_APP))
    children = worker.children()
    worker.kill()
    assert worker.returncode == -signal.SIGKILL
    wait_for_end(*children, timeout=30)


def test_worker_that_cannot_start_fails_test_with_its_log(own_lab: Lab) -> None:
    """The failure is reported at once."""
    with pytest.raises(ProcessError, match="no such thing"):
        own_lab.celery(own_lab.app("raise RuntimeError('no such thing')"))


def test_script_runs_in_its_own_process(own_lab: Lab) -> None:
    """A short script imports the app, sends and ends; its log is kept."""
    app = own_lab.app(CELERY_APP)
    script = own_lab.script(SCRIPT.format(module=app.module), app=app)
    assert script.wait() == 0
    script.wait_for_log("sent")
    own_lab.celery(app, pool="solo")
    own_lab.receiver.expect_span("noted", text="by script")


def test_worker_exports_over_grpc(own_lab: Lab) -> None:
    """The receiver for gRPC, and `OTEL_EXPORTER_OTLP_PROTOCOL` for it."""
    with GrpcReceiver() as receiver:
        lab = replace(own_lab, receiver=receiver)
        app = lab.app(CELERY_APP)
        lab.celery(app, pool="solo")
        lab.producer(app).run("note.delay('over gRPC')")
        receiver.expect_span("noted", text="over gRPC")
    assert own_lab.receiver.requests() == []


def test_results_and_chords_work_on_each_broker(own_lab: Lab) -> None:
    """Every broker has a result backend for the tests that need one."""
    app = own_lab.app(CHORD_APP)
    own_lab.celery(app, pool="threads")
    code = "result = chord([add.s(1, 2), add.s(3, 4)], total.s()).delay().get(timeout=60)"
    assert own_lab.producer(app).run(code).result == 10
