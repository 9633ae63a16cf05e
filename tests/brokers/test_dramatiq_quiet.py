"""With an instrumented broker client: a worker that has nothing to do exports nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

APP = """
    import importlib

    import dramatiq
    import wrapt
    from opentelemetry import context, trace

    from otel_queue_plugins.dramatiq import instrument
    from tests.brokers.apps.settings import BROKER_URL, QUEUE, dramatiq_broker

    broker = dramatiq_broker()
    instrument(broker)

    def traced(wrapped, instance, args, kwargs):
        if context.get_value("suppress_instrumentation"):
            return wrapped(*args, **kwargs)
        with trace.get_tracer("client").start_as_current_span("client call"):
            return wrapped(*args, **kwargs)

    if BROKER_URL.startswith("redis"):
        wrapt.wrap_function_wrapper("redis.client", "Redis.execute_command", traced)
    else:
        blocking = "pika.adapters.blocking_connection"
        for name in ("basic_publish", "basic_ack", "basic_nack", "queue_declare"):
            wrapt.wrap_function_wrapper(blocking, f"BlockingChannel.{name}", traced)

    @dramatiq.actor(queue_name=QUEUE, actor_name="inner")
    def inner():
        pass

    @dramatiq.actor(queue_name=QUEUE, actor_name="outer")
    def outer():
        inner.send()

    @dramatiq.actor(queue_name=QUEUE, actor_name="fail", max_retries=0)
    def fail():
        raise ValueError
"""


def _clients_of_worker(lab: Lab) -> list[str]:
    return [
        span.parent_id
        for span in lab.receiver.spans()
        if span.name == "client call" and span.service == "worker"
    ]


def test_only_what_actors_send_has_client_spans_in_a_worker(own_lab: Lab) -> None:
    """They are inside the send span; no poll, ack, nack or second hop has one."""
    app = own_lab.app(APP)
    producer = own_lab.producer(app)
    own_lab.dramatiq(app)
    own_lab.receiver.wait_for(lambda: False, 1.5)
    assert _clients_of_worker(own_lab) == []
    sent = producer.run("outer.send_with_options(delay=100); fail.send()")
    own_lab.receiver.until(
        lambda: len([s for s in own_lab.receiver.spans() if s.kind == "consumer"]) == 3, "3"
    )
    own_lab.receiver.wait_for(lambda: False, 0.5)
    spans = own_lab.receiver.trace(sent.trace_id)
    (send,) = [span for span in spans if span.name == "send inner"]
    assert set(_clients_of_worker(own_lab)) == {send.span_id}


def test_broker_spans_can_be_had(own_lab: Lab) -> None:
    """With OTEL_QUEUE_BROKER_SPANS."""
    app = own_lab.app(APP)
    own_lab.dramatiq(app, env={"OTEL_QUEUE_BROKER_SPANS": "true"})
    own_lab.receiver.until(lambda: bool(_clients_of_worker(own_lab)), "a client span")
