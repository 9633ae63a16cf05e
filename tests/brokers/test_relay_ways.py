"""One exporter for a worker, whichever broker its tasks come from and whatever its protocol is."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import CONSUMED, OUTCOME, RESTING
from tests.receiver import GrpcReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import Lab

APP = "tests.brokers.apps.relay_celery"
DURATION = "messaging.process.duration"
INSTANCE = "service.instance.id"
SOON = {
    "OTEL_QUEUE_RELAY": "on",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_BLRP_SCHEDULE_DELAY": "200",
}


@pytest.fixture(params=["http", "grpc"])
def any_lab(own_lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """On each broker, with a receiver for each protocol."""
    with ExitStack() as stack:
        grpc = request.param == "grpc"
        yield replace(own_lab, receiver=stack.enter_context(GrpcReceiver())) if grpc else own_lab


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_worker_is_one_process_to_the_backend(any_lab: Lab, compression: str) -> None:
    """Spans, records, counts and histograms of children that come and go or are killed."""
    app = any_lab.module(APP)
    producer = any_lab.producer(app)
    env = {**SOON, "OTEL_EXPORTER_OTLP_COMPRESSION": compression}
    worker = any_lab.celery(app, env=env, arguments=["--max-tasks-per-child=2"])
    sent = producer.run("for n in range(6): sell.delay()")
    worker.wait_for_log("succeeded", count=6)
    producer.run(RESTING)  # "succeeded" is logged before the task is over
    there = any_lab.directory / "there"
    producer.run(f"wait_for.delay({str(there)!r})")
    worker.wait_for_log("waits")
    for child in worker.children():
        os.kill(child, signal.SIGKILL)
    worker.wait_for_log("WorkerLostError")
    receiver = any_lab.receiver
    spans = receiver.expect_trace(sent.trace_id, 18)
    processed = [span for span in spans if span.kind == "consumer"]
    assert {span.attributes[OUTCOME] for span in processed} == {"success"}
    assert len({span.attributes["process.pid"] for span in processed}) >= 3
    receiver.expect_total(CONSUMED, 6, taskqueue__task__outcome="success")
    receiver.expect_total(CONSUMED, 1, taskqueue__task__outcome="lost")
    receiver.expect_total(DURATION, 6, taskqueue__task__outcome="success")
    receiver.expect_total("shop.sold", 12, item="book")
    assert len(receiver.latest_points("shop.sold")) == 1
    said = [each for each in receiver.logs() if each.body == "sold a book"]
    assert {each.span_id for each in said} == {span.span_id for span in processed}
    origins = {span.resource[INSTANCE] for span in spans if span.kind != "producer"}
    assert len(origins) == 1
    producer.run(RESTING)
    assert worker.stop(signal.SIGTERM) == 0
