"""`instrument()` may be called after a worker, or a process of its pool, has started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.brokers.harness import App, Lab
    from tests.processes import ManagedProcess

OUTCOME = "taskqueue.task.outcome"
APP = """
    import os
    import signal
    import time

    import wrapt
    from celery import Celery, signals
    from opentelemetry import context, trace

    from otel_queue_plugins.celery import instrument
    from tests.brokers.apps.settings import QUEUE, celery_settings

    app = Celery("late")
    app.conf.update(celery_settings(worker_lost_wait=0.5))

    def join(**_):
        instrument(app)

    WHEN = os.environ.get("WHEN")
    if WHEN:
        getattr(signals, WHEN).connect(join, weak=False)
    else:
        join()

    def traced(wrapped, instance, args, kwargs):
        if context.get_value("suppress_instrumentation"):
            return wrapped(*args, **kwargs)
        with trace.get_tracer("client").start_as_current_span("client call") as span:
            span.set_attribute("what", f"{args[:1]}")
            return wrapped(*args, **kwargs)

    for module, name in (
        ("redis.client", "Redis.execute_command"),
        ("redis.client", "Pipeline.execute"),
        ("amqp.channel", "Channel.basic_ack"),
        ("amqp.channel", "Channel.basic_consume"),
    ):
        wrapt.wrap_function_wrapper(module, name, traced)

    @app.task(name="ok")
    def ok():
        pass

    @app.task(name="slow", time_limit=0.4)
    def slow():
        time.sleep(20)

    @app.task(name="shot")
    def shot():
        os.kill(os.getpid(), signal.SIGKILL)
"""
EARLY = [
    "import_modules",
    "celeryd_init",
    "worker_init",
    "after_setup_logger",
    "after_setup_task_logger",
    "celeryd_after_setup",
    "worker_before_create_process",
]


def _outcome(lab: Lab, app: App, code: str, name: str) -> str:
    """Send a message inside a span, and return the outcome of its delivery."""
    sent = lab.producer(app).run(code)
    span = lab.receiver.expect_span(f"process {name}", trace_id=sent.trace_id)
    return str(span.attributes[OUTCOME])


def _start(lab: Lab, app: App, when: str, pool: str = "prefork") -> ManagedProcess:
    return lab.celery(app, pool=pool, arguments=["-Q", app.queue], env={"WHEN": when})


def _client_calls(lab: Lab) -> list[str]:
    """Return the client spans of what the worker does between tasks."""
    traces = {span.trace_id for span in lab.receiver.spans() if span.kind == "consumer"}
    return [
        str(span.attributes["what"])
        for span in lab.receiver.spans()
        if span.name == "client call" and span.service == "worker" and span.trace_id not in traces
    ]


@pytest.mark.parametrize("when", EARLY)
def test_instrument_before_pool_start_records_all(when: str, own_lab: Lab) -> None:
    """Tasks that run, are killed or are refused are recorded; polls are suppressed."""
    app = own_lab.app(APP)
    worker = _start(own_lab, app, when)
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"
    assert _outcome(own_lab, app, "slow.delay()", "slow") == "timeout"
    assert _outcome(own_lab, app, "shot.delay()", "shot") == "lost"
    assert _outcome(own_lab, app, "app.send_task('no.task')", "no.task") == "unknown_task"
    assert "instrument() was called" not in worker.log
    assert _client_calls(own_lab) == []


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_instrument_in_pool_without_processes_records_from_then_on(pool: str, own_lab: Lab) -> None:
    """When the worker is ready, the patches for all that follows are in place.

    A greenlet that already waits for remote control goes on as it began.
    """
    app = own_lab.app(APP)
    worker = _start(own_lab, app, "worker_ready", pool)
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"
    assert _outcome(own_lab, app, "app.send_task('no.task')", "no.task") == "unknown_task"
    slots = "taskqueue.worker.capacity"
    own_lab.receiver.until(lambda: bool(own_lab.receiver.latest_points(slots)), slots)
    own_lab.receiver.wait_for(lambda: False, 1.0)
    assert "instrument() was called" not in worker.log
    assert pool == "gevent" or _client_calls(own_lab) == []


def test_instrument_after_pool_start_warns_that_pool_is_untraced(own_lab: Lab) -> None:
    """The main process records what it sees; processes that it starts later record all."""
    app = own_lab.app(APP)
    worker = _start(own_lab, app, "worker_ready")
    assert worker.log.count("instrument() was called when the worker's processes") == 1
    assert _outcome(own_lab, app, "shot.delay()", "shot") == "lost"
    assert _outcome(own_lab, app, "shot.delay()", "shot") == "lost"
    assert _outcome(own_lab, app, "app.send_task('no.task')", "no.task") == "unknown_task"
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"


def test_instrument_in_pool_process_records_its_tasks(own_lab: Lab) -> None:
    """A warning says once what only the main process could record."""
    app = own_lab.app(APP)
    worker = _start(own_lab, app, "worker_process_init")
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"
    assert worker.log.count("instrument() was called in a process of the worker's pool") == 1


def test_instrument_in_worker_process_init_of_solo_pool_records_all(own_lab: Lab) -> None:
    """The process of the pool is the worker itself."""
    app = own_lab.app(APP)
    worker = _start(own_lab, app, "worker_process_init", "solo")
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"
    assert _outcome(own_lab, app, "app.send_task('no.task')", "no.task") == "unknown_task"
    assert "instrument() was called" not in worker.log
