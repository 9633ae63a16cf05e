"""The log line of a task that has failed for good leads to its trace, in both frameworks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

CELERY = """
    from celery import Celery
    from otel_queue_plugins.celery import instrument
    from tests.brokers.apps.settings import celery_settings

    app = Celery("shop")
    app.conf.update(celery_settings(worker_log_format="%(levelname)s %(message)s <%(trace_url)s>"))
    instrument(app)

    @app.task(name="fail", bind=True, max_retries=1)
    def fail(self):
        try:
            raise ValueError("no")
        except ValueError as error:
            raise self.retry(exc=error, countdown=0)
    """
DRAMATIQ = """
    import logging
    import dramatiq
    from otel_queue_plugins.dramatiq import instrument
    from tests.brokers.apps.settings import QUEUE, dramatiq_broker

    broker = dramatiq_broker()
    instrument(broker)
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(message)s <%(trace_url)s>", force=True
    )

    @dramatiq.actor(queue_name=QUEUE, max_retries=0)
    def fail():
        raise ValueError("no")
    """
SETTINGS = {
    "OTEL_QUEUE_LOG_TRACE_URL": "true",
    "OTEL_QUEUE_TRACE_URL": "https://t/{trace_id}",
}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_final_failure_of_celery_has_the_url(own_lab: Lab, pool: str) -> None:
    """The record is that of Celery's own logger; what succeeds has none."""
    app = own_lab.app(CELERY)
    sender = own_lab.producer(app)
    worker = own_lab.celery(app, pool=pool, concurrency=1, env=SETTINGS, ready=r" ready\. <>$")
    sent = sender.run("result = fail.delay().id")
    url = re.escape(f"https://t/{sent.trace_id}")
    worker.wait_for_log(rf"^ERROR Task fail\[{sent.result}\] raised unexpected")
    worker.wait_for_log(rf"<{url}>")
    line = re.search(rf"^ERROR Task fail.*?<({url})?>", worker.log, re.DOTALL | re.MULTILINE)
    assert line is not None
    assert line[1] == f"https://t/{sent.trace_id}"
    assert re.search(r"^INFO Task fail\[.*\] received <>", worker.log, re.MULTILINE)


def test_final_failure_of_dramatiq_has_the_url(own_lab: Lab) -> None:
    """The record is that of the middleware which gives up."""
    app = own_lab.app(DRAMATIQ)
    sender = own_lab.producer(app)
    worker = own_lab.dramatiq(app, threads=1, env=SETTINGS)
    sent = sender.run("result = fail.send().message_id")
    url = re.escape(f"https://t/{sent.trace_id}")
    worker.wait_for_log(rf"^WARNING Retries exceeded for message '{sent.result}'\. <{url}>$")
