"""With an instrumented broker client, a worker exports nothing between tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab

APP = """
    import wrapt
    from celery import Celery
    from opentelemetry import context, trace

    from otel_queue_plugins.celery import instrument
    from tests.brokers.apps.settings import celery_settings

    app = Celery("quiet")
    app.conf.update(celery_settings())
    instrument(app)

    def traced(wrapped, instance, args, kwargs):
        if context.get_value("suppress_instrumentation"):
            return wrapped(*args, **kwargs)
        with trace.get_tracer("client").start_as_current_span("client call"):
            return wrapped(*args, **kwargs)

    for module, name in (
        ("redis.client", "Redis.execute_command"),
        ("redis.client", "Pipeline.execute"),
        ("amqp.channel", "Channel._basic_publish"),
        ("amqp.channel", "Channel.basic_ack"),
        ("amqp.channel", "Channel.queue_declare"),
    ):
        wrapt.wrap_function_wrapper(module, name, traced)

    @app.task(name="inner", acks_late=True, time_limit=60)
    def inner():
        pass

    @app.task(name="outer", acks_late=True, ignore_result=False)
    def outer():
        inner.delay()
        return 1
"""


def _calls_of_worker(lab: Lab) -> list[ReceivedSpan]:
    return [
        span
        for span in lab.receiver.spans()
        if span.name == "client call" and span.service == "worker"
    ]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent"])
def test_client_spans_of_worker_are_those_of_its_tasks(pool: str, own_lab: Lab) -> None:
    """What a task sends and stores is in its trace; polls, acks and declarations have no span."""
    app = own_lab.app(APP)
    producer = own_lab.producer(app)
    own_lab.celery(app, pool=pool)
    sent = producer.run("for _ in range(3): outer.delay()")
    own_lab.receiver.until(
        lambda: len([s for s in own_lab.receiver.spans() if s.kind == "consumer"]) == 6, "6"
    )
    own_lab.receiver.wait_for(lambda: False, 0.5)
    calls = _calls_of_worker(own_lab)
    assert calls
    assert {call.trace_id for call in calls} == {sent.trace_id}


def test_broker_spans_option_exports_client_spans_of_worker(own_lab: Lab) -> None:
    """With OTEL_QUEUE_BROKER_SPANS."""
    app = own_lab.app(APP)
    producer = own_lab.producer(app)
    own_lab.celery(app, env={"OTEL_QUEUE_BROKER_SPANS": "true"})
    sent = producer.run("outer.delay()")
    own_lab.receiver.until(
        lambda: any(call.trace_id != sent.trace_id for call in _calls_of_worker(own_lab)), "call"
    )
