"""What leaves real processes over the wire: no secret, no argument, and the values asked for.

On Redis alone: it does not depend on the broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab

SETTINGS = {
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_QUEUE_REDACT": r"email,/ACME-\d+/",
    "OTEL_QUEUE_CORRELATION": "tenant_id=tenant.id",
    "OTEL_QUEUE_CORRELATION_BAGGAGE": "true",
    "OTEL_QUEUE_CORRELATION_ID": "true",
    "OTEL_QUEUE_RELATION": "link",
    "OTEL_QUEUE_ATTRIBUTES_DENY": "server.*",
}
SECRETS = ("hunter2", "jane@shop.example", "ACME-77", "4111")
BODY = """
    import logging

    def run(tenant, card, send_inner):
        logging.getLogger("shop").warning("charging for jane@shop.example, password=hunter2")
        send_inner()
        raise ValueError("ACME-77 of jane@shop.example: redis://:hunter2@cache/0")
"""
CELERY = f"""
    from celery import Celery

    from otel_queue_plugins.celery import instrument
    from tests.brokers.apps.settings import celery_settings
    {BODY}
    app = Celery("shop")
    app.conf.update(celery_settings())
    instrument(app)

    @app.task(name="inner")
    def inner():
        return "4111"

    @app.task(name="outer")
    def outer(tenant, card):
        run(tenant, card, inner.delay)
"""
DRAMATIQ = f"""
    import dramatiq

    from otel_queue_plugins.dramatiq import instrument
    from tests.brokers.apps.settings import QUEUE, dramatiq_broker
    {BODY}
    broker = dramatiq_broker()
    instrument(broker)

    @dramatiq.actor(queue_name=QUEUE, actor_name="inner")
    def inner():
        pass

    @dramatiq.actor(queue_name=QUEUE, actor_name="outer", max_retries=0)
    def outer(tenant, card):
        run(tenant, card, inner.send)
"""


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_no_secret_leaves_and_values_follow(own_lab: Lab, framework: str) -> None:
    """On spans, events and log records of a task that fails, and of what it has sent."""
    app = own_lab.app(CELERY if framework == "celery" else DRAMATIQ)
    producer = own_lab.producer(app, env=SETTINGS)
    if framework == "celery":
        worker = own_lab.celery(app, env=SETTINGS)
    else:
        worker = own_lab.dramatiq(app, env=SETTINGS)
    send = "delay" if framework == "celery" else "send"
    producer.run(f"outer.{send}({{'id': 'acme'}}, card='4111')")
    receiver = own_lab.receiver

    def spans() -> list[ReceivedSpan]:
        names = ("send outer", "process outer", "send inner", "process inner")
        return [span for span in receiver.spans() if span.name in names]

    receiver.until(lambda: len(spans()) >= 4, "two sends and two deliveries")
    receiver.until(
        lambda: any("exception.stacktrace" in each.attributes for each in receiver.logs()),
        "the record of the failure",
    )
    assert worker.stop() == 0
    texts = [str(each) for each in spans()]
    texts += [str(each) for each in receiver.logs()]
    assert [secret for secret in SECRETS for text in texts if secret in text] == []
    assert {each.attributes["taskqueue.correlation.tenant_id"] for each in spans()} == {"acme"}
    assert len({each.attributes["taskqueue.correlation_id"] for each in spans()}) == 1
    assert not [name for each in spans() for name in each.attributes if "server." in name]
    (failed,) = [each for each in spans() if each.name == "process outer"]
    message = "[redacted:custom] of [redacted:email]: redis://[redacted:credentials]@cache/0"
    assert failed.attributes["exception.message"] == message
    (line,) = [each for each in receiver.logs() if str(each.body).startswith("charging for")]
    assert line.body == "charging for [redacted:email], password=[redacted:credentials]"
    assert line.attributes["taskqueue.correlation.tenant_id"] == "acme"
