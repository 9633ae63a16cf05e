"""No stack trace that leaves a worker has a frame of this package.

On Redis alone: an exception is the same with every broker.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import otel_queue_plugins

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

PACKAGE = f"{Path(otel_queue_plugins.__file__).parent}/"
CELERY = """
    from celery import Celery

    from otel_queue_plugins.celery import instrument
    from tests.brokers.apps.settings import celery_settings

    app = Celery("shop")
    app.conf.update(celery_settings())
    instrument(app)

    @app.task(name="inner")
    def inner(_):
        pass

    @app.task(name="outer")
    def outer():
        try:
            inner.delay(object())
        except Exception as error:
            raise LookupError("outer") from error
"""
DRAMATIQ = """
    import dramatiq

    from otel_queue_plugins.dramatiq import instrument
    from tests.brokers.apps.settings import QUEUE, dramatiq_broker

    broker = dramatiq_broker()
    instrument(broker)

    @dramatiq.actor(queue_name=QUEUE, actor_name="inner")
    def inner(_):
        pass

    @dramatiq.actor(queue_name=QUEUE, actor_name="outer", max_retries=0)
    def outer():
        try:
            inner.send(object())
        except Exception as error:
            raise LookupError("outer") from error
"""


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
@pytest.mark.parametrize("worker", ["prefork", "threads", "dramatiq"])
def test_stacktraces_of_spans_and_log_records_have_no_frame_of_this_package(
    own_lab: Lab, worker: str
) -> None:
    """On the spans of the task and its send, and on the record with which the framework logs it."""
    env = {"OTEL_LOGS_EXPORTER": "otlp"}
    app = own_lab.app(DRAMATIQ if worker == "dramatiq" else CELERY)
    producer = own_lab.producer(app)
    if worker == "dramatiq":
        own_lab.dramatiq(app, env=env)
    else:
        own_lab.celery(app, pool=worker, env=env)
    sent = producer.run("outer.send()" if worker == "dramatiq" else "outer.delay()")
    receiver = own_lab.receiver
    spans = receiver.expect_trace(sent.trace_id, 3)
    receiver.until(
        lambda: any("exception.stacktrace" in each.attributes for each in receiver.logs()),
        "a record with a stack trace",
    )
    said = [span.attributes for span in spans]
    said += [event.attributes for span in spans for event in span.events]
    said += [record.attributes for record in receiver.logs()]
    found = [str(each["exception.stacktrace"]) for each in said if "exception.stacktrace" in each]
    assert len(found) == 5
    assert [text for text in found if PACKAGE in text] == []
    assert sum("in outer" in text for text in found) == 3
