"""`instrument()` may be called when a worker, or a process of its pool, has begun."""

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
    """How the delivery of a message ended that is sent by somebody who is traced."""
    sent = lab.producer(app).run(code)
    span = lab.receiver.expect_span(f"process {name}", trace_id=sent.trace_id)
    return str(span.attributes[OUTCOME])


def _start(lab: Lab, app: App, when: str, pool: str = "prefork") -> ManagedProcess:
    return lab.celery(app, pool=pool, arguments=["-Q", app.queue], env={"WHEN": when})


def _client_calls(lab: Lab) -> list[str]:
    """What the worker does between tasks, if it is seen."""
    traces = {span.trace_id for span in lab.receiver.spans() if span.kind == "consumer"}
    return [
        str(span.attributes["what"])
        for span in lab.receiver.spans()
        if span.name == "client call" and span.service == "worker" and span.trace_id not in traces
    ]


@pytest.mark.parametrize("when", EARLY)
def test_before_the_pool_has_started_it_is_early_enough(when: str, own_lab: Lab) -> None:
    """What runs, what is killed and what is refused is told; what happens between is quiet."""
    app = own_lab.app(APP)
    worker = _start(own_lab, app, when)
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"
    assert _outcome(own_lab, app, "slow.delay()", "slow") == "timeout"
    assert _outcome(own_lab, app, "shot.delay()", "shot") == "lost"
    assert _outcome(own_lab, app, "app.send_task('no.task')", "no.task") == "unknown_task"
    assert "instrument() was called" not in worker.log
    assert _client_calls(own_lab) == []


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_where_tasks_run_in_the_process_itself_it_is_never_too_late(
    pool: str, own_lab: Lab
) -> None:
    """When the worker is ready, all is put in place for what comes next.

    A greenlet that waits for remote control by then goes on as it began.
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


def test_a_pool_that_has_started_is_said_to_be_untraced(own_lab: Lab) -> None:
    """The main process tells what it sees; processes that it starts from now on are whole."""
    app = own_lab.app(APP)
    worker = _start(own_lab, app, "worker_ready")
    assert worker.log.count("instrument() was called when the worker's processes") == 1
    assert _outcome(own_lab, app, "shot.delay()", "shot") == "lost"
    assert _outcome(own_lab, app, "shot.delay()", "shot") == "lost"
    assert _outcome(own_lab, app, "app.send_task('no.task')", "no.task") == "unknown_task"
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"


def test_a_pool_process_alone_tells_what_it_runs(own_lab: Lab) -> None:
    """What only its parent sees is said to be missing, once."""
    app = own_lab.app(APP)
    worker = _start(own_lab, app, "worker_process_init")
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"
    assert worker.log.count("instrument() was called in a process of the worker's pool") == 1


def test_the_solo_pool_says_process_too(own_lab: Lab) -> None:
    """There the process of the pool is the worker's own."""
    app = own_lab.app(APP)
    worker = _start(own_lab, app, "worker_process_init", "solo")
    assert _outcome(own_lab, app, "ok.delay()", "ok") == "success"
    assert _outcome(own_lab, app, "app.send_task('no.task')", "no.task") == "unknown_task"
    assert "instrument() was called" not in worker.log
