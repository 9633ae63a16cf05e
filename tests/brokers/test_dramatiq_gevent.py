"""`dramatiq-gevent`: greenlets instead of threads, on real brokers."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.brokers.harness import App, Lab
    from tests.processes import ManagedProcess

pytest.importorskip("gevent")

OUTCOME = "taskqueue.task.outcome"
APP = """
    import dramatiq
    import gevent
    from opentelemetry import trace

    from otel_queue_plugins.dramatiq import instrument
    from tests.brokers.apps.settings import QUEUE, dramatiq_broker

    broker = dramatiq_broker()
    instrument(broker)

    def here():
        return trace.get_current_span().get_span_context().span_id

    @dramatiq.actor(queue_name=QUEUE, actor_name="inner", max_retries=0)
    def inner():
        print("inner ran", flush=True)

    @dramatiq.actor(queue_name=QUEUE, actor_name="outer", max_retries=1, min_backoff=50)
    def outer(number):
        before = here()
        gevent.sleep(0.05)
        inner.send()
        assert here() == before
        if number % 2:
            raise KeyError(number)
"""


def greenlets(lab: Lab, app: App, env: dict[str, str] | None = None) -> ManagedProcess:
    """A worker of ten greenlets that has started."""
    command = [str(Path(sysconfig.get_path("scripts")) / "dramatiq-gevent"), app.module]
    worker = lab.processes.start(
        "dramatiq-gevent",
        [*command, "-p", "1", "-t", "10"],
        env=lab.env("worker", app, env),
        cwd=lab.directory,
    )
    worker.wait_for_log("Worker process is ready for action", timeout=30)
    return worker


def test_greenlets_of_worker_keep_their_traces_apart(own_lab: Lab) -> None:
    """Also over retries; what a stopping worker has recorded is exported at once."""
    app = own_lab.app(APP)
    producer = own_lab.producer(app)
    worker = greenlets(own_lab, app, {"OTEL_BSP_SCHEDULE_DELAY": "60000"})
    sent = [producer.run(f"outer.send({number})") for number in range(10)]
    worker.wait_for_log("inner ran", count=15)
    assert worker.stop() == 0
    for number, one in enumerate(sent):
        attempts = 1 + number % 2
        spans = own_lab.receiver.expect_trace(one.trace_id, 1 + 3 * attempts, settle=0)
        outer = [span for span in spans if span.name == "process outer"]
        sends = [span for span in spans if span.name == "send inner"]
        assert [span.attributes[OUTCOME] for span in outer] == (
            ["retry", "dead_letter"] if attempts == 2 else ["success"]
        )
        assert {span.parent_id for span in sends} == {span.span_id for span in outer}
        assert len(sends) == len(outer)
