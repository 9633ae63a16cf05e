"""The example of FastAPI with Dramatiq, run by the commands of its README."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.brokers import readmes

if TYPE_CHECKING:
    from pathlib import Path

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab

NEEDED = (
    "fastapi",
    "httpx",
    "uvicorn",
    "opentelemetry.instrumentation.fastapi",
    "opentelemetry.instrumentation.httpx",
)
RUNNING = {"dramatiq actors": "Worker process is ready", "uvicorn": "Uvicorn running on"}
PATHS = {
    "events-web POST /events": 1,
    "events-web send deliver": 2,
    "events-worker process deliver retry": 1,
    "events-worker process deliver success": 1,
    "events-worker process deliver dead_letter": 1,
    "events-worker POST": 3,
    "events-web POST /subscribers/{name}": 3,
}
PARENTS = {
    "POST /events": "",
    "send deliver": "POST /events",
    "process deliver": "send deliver",
    "POST": "process deliver",
    "POST /subscribers/{name}": "POST",
}


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_event_is_one_trace_to_the_requests_of_its_deliveries(own_lab: Lab, tmp_path: Path) -> None:
    """A retry and a dead letter, and below each attempt the request that it has made."""
    received = own_lab.receiver
    example = readmes.installed(own_lab, "fastapi_dramatiq", tmp_path, NEEDED)
    readmes.start(own_lab, example, RUNNING)

    assert json.loads(example.output("curl"))["kind"] == "order.paid"
    received.until(lambda: len(received.spans()) >= sum(PATHS.values()), "twelve spans")
    root = received.expect_span("POST /events")
    spans = received.expect_trace(root.trace_id, sum(PATHS.values()))
    assert Counter(map(_label, spans)) == PATHS
    names = {span.span_id: span.name for span in spans}
    assert {(span.name, names.get(span.parent_id, "")) for span in spans} == set(PARENTS.items())


def _label(span: ReceivedSpan) -> str:
    outcome = span.attributes.get("taskqueue.task.outcome")
    return " ".join(filter(None, (span.service, span.name, outcome)))
