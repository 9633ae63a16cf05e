"""The end time of a delivery whose end was not reported at once."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import celery
import pytest

from tests.brokers.proxy import Proxy
from tests.receiver import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.brokers.harness import Lab
    from tests.brokers.harness_producer import Producer
    from tests.processes import ManagedProcess

APP = "tests.brokers.apps.celery_outcomes"
OUTCOME = "taskqueue.task.outcome"
SOON_S = 1.0
OLD = tuple(int(part) for part in celery.__version__.split(".")[:2]) < (5, 5)
since_5_5 = pytest.mark.skipif(OLD, reason="Celery before 5.5 ends tasks last")


PATIENT = """
    import os
    import signal
    import tempfile

    from celery import Celery

    from otel_queue_plugins.celery import instrument
    from tests.brokers.apps.settings import QUEUE, celery_settings

    PLACE = os.path.join(tempfile.gettempdir(), QUEUE)
    os.makedirs(PLACE, exist_ok=True)
    app = Celery("patient")
    app.conf.update(
        celery_settings(
            broker_transport_options={"data_folder_in": PLACE, "data_folder_out": PLACE},
            worker_lost_wait=3,
        )
    )
    instrument(app)

    @app.task(name="shot_once", acks_late=True, reject_on_worker_lost=True)
    def shot_once():
        if not os.path.exists(f"{PLACE}.again"):
            open(f"{PLACE}.again", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["event loop", "threads"])
def test_delivery_of_killed_process_ends_at_its_death(kind: str, own_lab: Lab) -> None:
    """Without an event loop the pool waits for a result for some time; the span does not."""
    app, env = own_lab.module(APP), {}
    if kind == "threads":
        app, env = own_lab.app(PATIENT), {"BROKER_URL": "filesystem://"}
    own_lab.celery(app, arguments=["-Q", app.queue], env=env)
    sent = own_lab.producer(app, env=env).run("shot_once.delay()")
    lost, again = (
        own_lab.receiver.expect_span(
            "process shot_once", trace_id=sent.trace_id, timeout=20, **{OUTCOME: outcome}
        )
        for outcome in ("lost", "success")
    )
    assert lost.end_ns + (kind == "threads") * 1e9 <= again.start_ns
    times = {event.time_ns for event in lost.events if event.name == "taskqueue.lost"}
    assert times == {lost.end_ns}


def test_delivery_over_time_limit_ends_at_the_limit(own_lab: Lab) -> None:
    """However late the worker notices."""
    app = own_lab.module(APP)
    own_lab.celery(app, arguments=["-Q", app.queue])
    sent = own_lab.producer(app).run("hard.delay()")
    process = own_lab.receiver.expect_span("process hard", trace_id=sent.trace_id)
    assert process.attributes[OUTCOME] == "timeout"
    assert process.duration_s == pytest.approx(0.4, abs=0.001)


def test_cancelled_delivery_ends_before_next_delivery(own_lab: Lab) -> None:
    """The worker handles the broker, and then the next delivery, while the task ends."""
    with Proxy(own_lab.broker.url) as proxy:
        app = own_lab.module(APP)
        worker = own_lab.celery(app, arguments=["-Q", app.queue], env={"BROKER_URL": proxy.url})
        sent = own_lab.producer(app).run("result = hold_once.delay(20).id")
        worker.wait_for_log(f"at work {sent.result}")
        proxy.cut()
        again = own_lab.receiver.expect_span(
            "process hold_once", trace_id=sent.trace_id, timeout=30, **{OUTCOME: "success"}
        )
        cancelled = own_lab.receiver.expect_span(
            "process hold_once", trace_id=sent.trace_id, **{OUTCOME: "retry"}
        )
    assert cancelled.end_ns <= again.start_ns
    assert again.attributes["taskqueue.redelivered"] is True


def _terminate(producer: Producer, worker: ManagedProcess, task_id: str) -> None:
    assert worker.returncode is None
    producer.run(f"app.control.revoke({task_id!r}, terminate=True)")


def _shut_down(_producer: Producer, worker: ManagedProcess, _task_id: str) -> None:
    worker.send_signal(signal.SIGQUIT)


@pytest.mark.parametrize(
    ("end", "outcome"),
    [(_terminate, "revoked"), pytest.param(_shut_down, "lost", marks=since_5_5)],
    ids=["revoke", "SIGQUIT"],
)
def test_slow_exit_of_process_does_not_prolong_delivery(
    end: Callable[[Producer, ManagedProcess, str], None], outcome: str, own_lab: Lab
) -> None:
    """The signal ended the task; the flush at the exit comes after that."""
    app = own_lab.module(APP)
    worker = own_lab.celery(app, arguments=["-Q", app.queue])
    producer = own_lab.producer(app)
    sent = producer.run("result = hold.delay(60).id")
    own_lab.receiver.expect_span("work", trace_id=sent.trace_id)
    own_lab.receiver.fault = Fault.HANG
    ended_ns = time.time_ns()
    end(producer, worker, sent.result)
    own_lab.receiver.wait_for(lambda: False, 2.0)
    own_lab.receiver.fault = Fault.OK
    process = own_lab.receiver.expect_span("process hold", trace_id=sent.trace_id, timeout=30)
    assert process.attributes[OUTCOME] == outcome
    assert ended_ns < process.end_ns < ended_ns + SOON_S * 1e9


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_delivery_of_process_killed_with_sigkill_ends_at_the_signal(
    method: str, own_lab: Lab
) -> None:
    """However the process was started."""
    app = own_lab.module(APP)
    env = {} if method == "fork" else {"CELERY_WORKER_POOL_START_METHOD": method}
    worker = own_lab.celery(app, arguments=["-Q", app.queue], env=env)
    producer = own_lab.producer(app)
    sent = producer.run("result = hold.delay(60).id")
    worker.wait_for_log(f"at work {sent.result}")
    shot_ns = time.time_ns()
    producer.run(f"app.control.revoke({sent.result!r}, terminate=True, signal='SIGKILL')")
    process = own_lab.receiver.expect_span("process hold", trace_id=sent.trace_id)
    assert shot_ns < process.end_ns < shot_ns + SOON_S * 1e9
