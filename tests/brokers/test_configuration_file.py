"""`OTEL_CONFIG_FILE` in real producers and workers: each process exports by itself, once."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Final

import pytest

from tests import configuration_file
from tests.services import free_port

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

CELERY: Final = """
from celery import Celery
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("shop")
app.conf.update(celery_settings())
instrument(app)

@app.task(name="pay")
def pay():
    pass
"""
CONSUMED: Final = "messaging.client.consumed.messages"

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


def environment(own_lab: Lab) -> dict[str, str]:
    """The file, and no variable that says the same."""
    written = configuration_file.write(
        own_lab.directory / "otel.yaml", endpoint=own_lab.receiver.endpoint
    )
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_SERVICE_NAME": "", **written}


def expect(own_lab: Lab, trace_id: str, tasks: int) -> list[str]:
    """Both spans of each task in one trace, each delivery counted once; the workers' ids."""
    spans = own_lab.receiver.expect_trace(trace_id, 2 * tasks)
    sent = {span.span_id: span for span in spans if span.kind == "producer"}
    processed = [span for span in spans if span.kind == "consumer"]
    assert len(sent) == len(processed) == tasks
    assert {span.parent_id for span in processed} == set(sent)
    assert {span.service for span in spans} == {"from-file"}
    own_lab.receiver.expect_total(CONSUMED, tasks, taskqueue__task__outcome="success")
    return [str(span.resource["service.instance.id"]) for span in processed]


def test_celery_worker_exports_by_its_file(own_lab: Lab) -> None:
    """Without a relay, of which one line tells; children that live for one task lose nothing."""
    own_lab.environment = environment(own_lab)
    app = own_lab.app(CELERY)
    producer = own_lab.producer(app)
    served = {"OTEL_QUEUE_HTTP": str(free_port())}
    worker = own_lab.celery(app, arguments=["--max-tasks-per-child=2"], env=served)
    sent = producer.run("for n in range(8): pay.delay()")
    worker.wait_for_log("succeeded", count=8)
    assert worker.stop(signal.SIGTERM) == 0
    assert len(set(expect(own_lab, sent.trace_id, 8))) >= 4
    assert worker.log.count("each process of this worker exports by itself") == 1
    assert "/metrics lacks what pool processes measure" in worker.log
    assert re.search(r"telemetry is on: .* to the exporters of \S+otel.yaml; service", worker.log)


def test_dramatiq_worker_exports_by_its_file(own_lab: Lab) -> None:
    """Each of its processes."""
    own_lab.environment = environment(own_lab)
    app = own_lab.module("tests.brokers.apps.http_dramatiq")
    producer = own_lab.producer(app)
    worker = own_lab.dramatiq(app, processes=2)
    sent = producer.run("for n in range(4): ok.send()")
    expect(own_lab, sent.trace_id, 4)
    assert worker.stop(signal.SIGTERM) == 0
