"""`otel-queue tail` beside a real worker: what a developer sees of it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.services import free_port

if TYPE_CHECKING:
    from tests.brokers.harness import Lab


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_tail_shows_a_trace_whole_over_http_and_grpc(own_lab: Lab) -> None:
    """With both attempts of a task that is tried again; the worker exports over gRPC."""
    port, grpc_port = free_port(), free_port()
    app = own_lab.module("tests.brokers.apps.http_celery")
    command = [sys.executable, "-m", "otel_queue_plugins.cli.main", "tail", "--json"]
    command += ["--port", str(port), "--grpc-port", str(grpc_port), "--task", "again"]
    tail = own_lab.processes.start(
        "tail", [*command, "--once", "1", "--timeout", "90s"], env=own_lab.env("cli", app)
    )
    tail.wait_for_log(f"http://127.0.0.1:{grpc_port} OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
    http = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    over_grpc = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{grpc_port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    own_lab.celery(app, env=over_grpc)
    own_lab.producer(app, http).run("ok.delay(); again.delay()")
    assert tail.wait(timeout=90) == 0
    (line,) = [each for each in tail.log.splitlines() if each.startswith("{")]
    document = json.loads(line)
    outcomes = [
        each["attributes"].get("taskqueue.task.outcome")
        for each in document["spans"]
        if each["name"] == "process again"
    ]
    assert outcomes == ["retry", "retry", "success"]
    assert "send again" in {each["name"] for each in document["spans"]}
