"""With the instrumentations of redis and pika, an idle worker exports nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab

for name in ("redis", "pika"):
    pytest.importorskip(f"opentelemetry.instrumentation.{name}")

APP = """
    import importlib
    import logging
    import sys

    import dramatiq

    from otel_queue_plugins.dramatiq import instrument
    from tests.brokers.apps.settings import BROKER_URL, QUEUE, dramatiq_broker

    client = "redis" if BROKER_URL.startswith("redis") else "pika"
    module = importlib.import_module(f"opentelemetry.instrumentation.{client}")
    getattr(module, f"{client.title()}Instrumentor")().instrument()
    logging.getLogger("opentelemetry").addHandler(logging.StreamHandler(sys.stdout))

    broker = dramatiq_broker()
    instrument(broker)

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
OURS = "otel_queue_plugins"


def _clients(lab: Lab, service: str) -> list[ReceivedSpan]:
    spans = lab.receiver.spans()
    return [span for span in spans if span.service == service and span.scope_name != OURS]


def _delivered(lab: Lab, count: int) -> None:
    def there() -> bool:
        ours = [span for span in lab.receiver.spans() if span.scope_name == OURS]
        return len([span for span in ours if span.kind == "consumer"]) == count

    lab.receiver.until(there, f"{count} deliveries")


def _beyond(spans: list[ReceivedSpan]) -> set[str]:
    """Return the ids of parents of `spans` that are not among `spans`."""
    return {span.parent_id for span in spans} - {span.span_id for span in spans}


def test_client_spans_exist_for_sends_only(own_lab: Lab) -> None:
    """They are inside the send span; no poll, receive, ack, nack or second hop has one."""
    app = own_lab.app(APP)
    producer = own_lab.producer(app)
    worker = own_lab.dramatiq(app)
    own_lab.receiver.wait_for(lambda: False, 1.5)
    assert _clients(own_lab, "worker") == []
    sent = producer.run("outer.send_with_options(delay=100); fail.send()")
    _delivered(own_lab, 3)
    own_lab.receiver.wait_for(lambda: False, 0.5)
    ours = [span for span in own_lab.receiver.trace(sent.trace_id) if span.scope_name == OURS]
    sends = {span.name: span.span_id for span in ours if span.kind == "producer"}
    assert _beyond(_clients(own_lab, "worker")) == {sends["send inner"]}
    by_producer = _beyond(_clients(own_lab, "web"))
    assert by_producer == {sends["send outer"], sends["send fail"]}
    assert "NoneType" not in worker.log


def test_broker_spans_option_exports_client_spans_of_worker(own_lab: Lab) -> None:
    """With OTEL_QUEUE_BROKER_SPANS; RabbitMQ pushes, so its client has spans for messages only."""
    app = own_lab.app(APP)
    producer = own_lab.producer(app)
    own_lab.dramatiq(app, env={"OTEL_QUEUE_BROKER_SPANS": "true"})
    sent = producer.run("outer.send()")
    _delivered(own_lab, 2)
    spans = {span.span_id: span for span in own_lab.receiver.trace(sent.trace_id)}
    inside = {name for name in spans if spans[name].name == "send inner"}
    own_lab.receiver.until(
        lambda: bool(_beyond(_clients(own_lab, "worker")) - inside), "a client's own span"
    )


@pytest.mark.parametrize("noisy", [False, True])
def test_settle_span_is_parent_of_client_spans(own_lab: Lab, noisy: bool) -> None:
    """This needs both options. The instrumentation of pika does not trace acks."""
    app = own_lab.app(APP)
    producer = own_lab.producer(app)
    wanted = {"OTEL_QUEUE_SETTLE_SPANS": "true", "OTEL_QUEUE_BROKER_SPANS": str(noisy).lower()}
    own_lab.dramatiq(app, env=wanted)
    producer.run("inner.send(); fail.send()")
    ack = own_lab.receiver.expect_span(f"ack {app.queue}")
    nack = own_lab.receiver.expect_span(f"nack {app.queue}")
    own_lab.receiver.wait_for(lambda: False, 0.5)
    inside = {span.parent_id for span in _clients(own_lab, "worker")}
    traced = noisy and own_lab.broker.system == "redis"
    assert inside & {ack.span_id, nack.span_id} == (
        {ack.span_id, nack.span_id} if traced else set()
    )
