"""Spans of acks and nacks on real brokers: one for each delivery, with `settle_spans`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab, Producer

APP = "tests.brokers.apps.dramatiq_outcomes"
CASES = {
    "success": ("ok.send()", ["ack"]),
    "delayed": ("ok.send_with_options(delay=100)", ["ack"]),
    "retries": ("again.send(2)", ["ack", "ack", "ack"]),
    "exhausted": ("again.send(9)", ["ack", "ack", "nack"]),
    "throws": ("expected.send()", ["nack"]),
    "age limit": ("enqueue('ok', max_age=0.001)", ["nack"]),
    "skipped": ("enqueue('ok', mood='bad')", ["ack"]),
    "time limit": ("slow.send()", ["nack"]),
    "unknown actor": ("enqueue('gone')", ["nack"]),
    "lost": ("again.send_with_options(args=(1,), mood='unplugged')", ["ack"]),
}


@pytest.fixture(scope="module", params=["first", "last"])
def settled(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Producer]:
    """A worker with `settle_spans`, and a producer."""
    app = lab.module(APP)
    env = {"POSITION": request.param, "OTEL_QUEUE_SETTLE_SPANS": "true"}
    producer = lab.producer(app, env)
    lab.dramatiq(app, env=env)
    yield producer
    lab.close()


@pytest.mark.parametrize("name", CASES)
def test_each_delivery_has_one_settle_span(settled: Producer, lab: Lab, name: str) -> None:
    """It is a child of the process span, begins after its end, and names the queue."""
    code, settlements = CASES[name]
    sent = settled.run(f"result = QUEUE; {code}")
    spans = lab.receiver.expect_trace(sent.trace_id, 1 + 2 * len(settlements))
    processes = {span.span_id: span for span in spans if span.kind == "consumer"}
    settles = sorted((span for span in spans if span.kind == "client"), key=_start)
    assert [span.name for span in settles] == [f"{verb} {sent.result}" for verb in settlements]
    assert {span.parent_id for span in settles} == set(processes)
    for span, verb in zip(settles, settlements, strict=True):
        process = processes[span.parent_id]
        assert span.start_ns >= process.end_ns
        assert (span.status, span.links, span.events) == ("unset", (), ())
        expected = {
            "messaging.operation.name": verb,
            "messaging.operation.type": "settle",
            "messaging.destination.name": sent.result,
            "messaging.message.id": process.attributes["messaging.message.id"],
            "messaging.system": lab.broker.system,
            "server.address": "127.0.0.1",
            "taskqueue.framework": "dramatiq",
        }
        assert expected.items() <= span.attributes.items()


def _start(span: ReceivedSpan) -> int:
    return span.start_ns
