"""Workers that are stopped, killed, or started in another way, and brokers that are unreachable."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

APP = "tests.brokers.apps.dramatiq_outcomes"
OUTCOME = "taskqueue.task.outcome"
LATER = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_METRIC_EXPORT_INTERVAL": "60000"}


def test_stopping_worker_exports_what_it_recorded(own_lab: Lab) -> None:
    """Its processes run no exit handlers, so a flush at the shutdown exports it."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    worker = own_lab.dramatiq(app, processes=2, env=LATER)
    sent = producer.run("hold.send(0.5)")
    worker.wait_for_log("hold runs")
    assert worker.stop() == 0
    send, process = own_lab.receiver.expect_trace(sent.trace_id, 2, timeout=30)
    assert process.parent_id == send.span_id
    assert process.attributes[OUTCOME] == "success"
    own_lab.receiver.expect_total(
        "messaging.client.consumed.messages", 1, timeout=30, taskqueue__task__outcome="success"
    )


def test_message_interrupted_by_shutdown_is_retry_and_runs_in_next_worker(own_lab: Lab) -> None:
    """Both attempts are in the trace of the sender."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    worker = own_lab.dramatiq(app, env=LATER)
    sent = producer.run("notified.send()")
    worker.wait_for_log("notified runs")
    assert worker.stop() == 0
    send, first = own_lab.receiver.expect_trace(sent.trace_id, 2, timeout=30)
    assert first.attributes[OUTCOME] == "retry"
    assert first.attributes["taskqueue.retry.reason"] == "shutdown"
    again = own_lab.dramatiq(app)
    again.wait_for_log("notified runs")
    again.stop()
    *_, second = own_lab.receiver.expect_trace(sent.trace_id, 3)
    assert first.parent_id == second.parent_id == send.span_id
    assert [link.span_id for link in second.links] == [first.span_id]


def test_message_of_killed_worker_is_redelivered_in_same_trace(
    own_lab: Lab,
) -> None:
    """The first delivery has no span; the second has `redelivered` as far as the broker says so.

    On Redis Dramatiq puts the id back into the list, so that it looks like any other message.
    """
    app = own_lab.module(APP)
    env = {"DIED": str(own_lab.directory / "died"), "HEARTBEAT": "1000"}
    producer = own_lab.producer(app, env)
    worker = own_lab.dramatiq(app, env=env)
    sent = producer.run("die.send()")
    worker.wait(20)
    assert Path(env["DIED"]).exists()
    own_lab.dramatiq(app, env=env)
    send, process = own_lab.receiver.expect_trace(sent.trace_id, 2, timeout=20)
    assert process.parent_id == send.span_id
    assert process.attributes[OUTCOME] == "success"
    known = True if own_lab.broker.system == "rabbitmq" else None
    assert process.attributes.get("taskqueue.redelivered") is known


def test_worker_started_in_script_records_all(own_lab: Lab) -> None:
    """`Worker(broker).start()` twice, beside a producer in the same process."""
    app = own_lab.module(APP)
    script = own_lab.script(
        f"""
        from dramatiq import Worker
        from opentelemetry import trace
        from {APP} import broker, ok

        broker.middleware = [m for m in broker.middleware if type(m).__name__ != "AsyncIO"]
        workers = [Worker(broker, worker_threads=1) for _ in range(2)]
        for worker in workers:
            worker.start()
        ok.send()
        broker.join(ok.queue_name)
        for worker in workers:
            worker.stop()
        """,
        app=app,
        env=LATER,
    )
    assert script.wait(30) == 0
    process = own_lab.receiver.expect_span("process ok", timeout=30)
    own_lab.receiver.expect_trace(process.trace_id, 2)


def test_send_to_unreachable_broker_ends_span_with_error(own_lab: Lab) -> None:
    """With RabbitMQ Dramatiq calls no hook then."""
    app = own_lab.module(APP)
    nobody = {
        "BROKER_URL": "redis://127.0.0.1:1/0"
        if own_lab.broker.system == "redis"
        else "amqp://guest:guest@127.0.0.1:1/"
    }
    producer = own_lab.producer(app, nobody)
    code = """
        span = trace.get_current_span()
        try:
            ok.send()
        except Exception as error:
            result = [type(error).__name__, trace.get_current_span() is span]
    """
    sent = producer.run(code)
    (send,) = own_lab.receiver.expect_trace(sent.trace_id, 1)
    assert sent.result[1] is True
    assert send.status == "error"
    assert send.attributes["error.type"].endswith(sent.result[0])
    assert send.attributes["server.port"] == 1


def test_entry_point_called_before_import_instruments_process(own_lab: Lab) -> None:
    """`sitecustomize` calls it before Dramatiq is imported."""
    app = own_lab.app(
        """
        import dramatiq
        from tests.brokers.apps.settings import QUEUE, dramatiq_broker

        dramatiq_broker()

        @dramatiq.actor(queue_name=QUEUE, actor_name="plain")
        def plain():
            pass
        """
    )
    (own_lab.directory / "sitecustomize.py").write_text(
        "from importlib.metadata import entry_points\n"
        "(found,) = entry_points(group='opentelemetry_instrumentor', name='otel_queue_dramatiq')\n"
        "found.load()().instrument(skip_dep_check=True, raise_exception_on_conflict=True)\n"
    )
    producer = own_lab.producer(app)
    own_lab.dramatiq(app, processes=2)
    sent = producer.run("plain.send_with_options(delay=50)")
    send, process = own_lab.receiver.expect_trace(sent.trace_id, 2)
    assert process.parent_id == send.span_id


def test_worker_with_hanging_backend_ends_within_bound(own_lab: Lab) -> None:
    """The flush is bounded."""
    from tests.receiver import Fault

    app = own_lab.module(APP)
    env = {**LATER, "OTEL_QUEUE_FLUSH_TIMEOUT": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "90"}
    producer = own_lab.producer(app)
    worker = own_lab.dramatiq(app, env=env)
    producer.run("hold.send(0.1)")
    worker.wait_for_log("hold runs")
    own_lab.receiver.fault = Fault.HANG
    assert worker.stop(signal.SIGTERM, timeout=30) == 0
