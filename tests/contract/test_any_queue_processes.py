"""A `QueueTracer` made before a fork, and used in children and threads: all arrives once."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.contract.queue_program import MESSAGES, WORKERS
from tests.environment import clean_environment, telemetry_environment
from tests.receiver import FaultyReceiver

if TYPE_CHECKING:
    from tests.processes import Processes

CONSUMED, SENT = "messaging.client.consumed.messages", "messaging.client.sent.messages"
OUTCOME = "taskqueue.task.outcome"
NAMES = ["parent", "end", *(f"{kind}{n}" for kind in ("child", "thread") for n in range(WORKERS))]


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_spans_and_counts_of_children_and_threads_arrive_once(
    processes: Processes, temporality: str
) -> None:
    """Each process counts for itself, from zero; each message is in a trace of its own."""
    with FaultyReceiver() as receiver:
        environment = telemetry_environment(receiver.endpoint, service="queue")
        environment["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] = temporality
        program = processes.start(
            "queue",
            [sys.executable, "-m", "tests.contract.queue_program"],
            env=clean_environment(**environment),
        )
        assert program.wait(60) == 0
        spans = receiver.spans()
        total = len(NAMES) * MESSAGES
        assert Counter(span.name for span in spans) == {
            "send resize": total,
            "process resize": total,
            "load": total,
        }
        runs = {span.span_id: span for span in spans if span.name == "process resize"}
        sends = {span.span_id: span for span in spans if span.name == "send resize"}
        expected = {f"{who}-{number}" for who in NAMES for number in range(MESSAGES)}
        assert {span.attributes["messaging.message.id"] for span in runs.values()} == expected
        for run in runs.values():
            message = run.attributes["messaging.message.id"]
            assert sends[run.parent_id].attributes["messaging.message.id"] == message
            failed = int(str(message).rpartition("-")[2]) % 2
            assert run.attributes[OUTCOME] == ("failure" if failed else "success")
        for span in spans:
            if span.name == "load":
                message = runs[span.parent_id].attributes["messaging.message.id"]
                assert str(message).startswith(f"{span.attributes['who']}-")
        points = receiver.points() if temporality == "delta" else receiver.latest_points(CONSUMED)
        counted: Counter[object] = Counter()
        for point in points:
            if point.name == CONSUMED:
                counted[point.attributes[OUTCOME]] += point.value or 0
        assert counted == {"success": total / 2, "failure": total / 2}
        instances = {point.resource["service.instance.id"] for point in points}
        assert len(instances) == 1 + WORKERS
