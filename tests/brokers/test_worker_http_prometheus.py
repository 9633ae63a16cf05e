"""Prometheus without a collector: the metrics of all processes of a worker, with exemplars."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.http_client import NO_PROXY, Client
from tests.services import find_binary, free_port, prometheus_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.brokers.harness import Lab

CELERY = "tests.brokers.apps.http_celery"
DRAMATIQ = "tests.brokers.apps.http_dramatiq"
CONSUMED = "messaging_client_consumed_messages_total"

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


def prometheus(port: int) -> dict[str, str]:
    """The environment of a user of Prometheus."""
    return {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
    }


def total(text: str, name: str) -> float:
    """The sum of a metric on a page of Prometheus's text format."""
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.partition(" # ")[0].rpartition(" ")[2]) for line in lines)


def run_ten(lab: Lab, framework: str, port: int) -> None:
    """A worker with two processes, replaced often in Celery, that has run ten tasks."""
    if framework == "celery":
        app = lab.module(CELERY)
        lab.celery(app, env=prometheus(port), arguments=["--max-tasks-per-child=2"])
        call = "delay"
    else:
        app = lab.module(DRAMATIQ)
        lab.dramatiq(app, processes=2, env=prometheus(port))
        call = "send"
    lab.producer(app, {"OTEL_METRICS_EXPORTER": "none"}).run(f"for n in range(10): ok.{call}(n)")
    client = Client(port)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            if total(client.get("/metrics").body, CONSUMED) == 10:
                return
    raise AssertionError(client.get("/metrics"))


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_prometheus_answers_a_query_with_an_exemplar(
    own_lab: Lab, framework: str, tmp_path: Path
) -> None:
    """Its exemplar is the trace of a task; the sum over all processes is what ran."""
    port = free_port()
    run_ten(own_lab, framework, port)
    with prometheus_server(tmp_path, port) as url:
        rows = query(url, "query", f"sum({CONSUMED})")
        assert [row["value"][1] for row in rows] == ["10"]
        name = "messaging_process_duration_seconds_bucket"
        now = time.time()
        rows = query(url, "query_exemplars", name, start=now - 300, end=now + 60)
        assert rows
        found = {each["labels"]["trace_id"] for row in rows for each in row["exemplars"]}
    own_lab.receiver.until(
        lambda: found & {span.trace_id for span in own_lab.receiver.spans()}, f"a trace of {found}"
    )


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_promtool_finds_nothing_wrong_with_the_names(own_lab: Lab, framework: str) -> None:
    """It reads the older format only, which is served to who asks for it."""
    port = free_port()
    run_ten(own_lab, framework, port)
    reply = Client(port).get("/metrics", Accept="text/plain")
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    promtool = [find_binary("promtool"), "check", "metrics"]
    checked = subprocess.run(
        promtool, input=reply.body, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def query(url: str, kind: str, expression: str, **more: float) -> list[dict[str, Any]]:
    """What Prometheus answers, once it has an answer."""
    arguments = urllib.parse.urlencode({"query": expression, **more})
    deadline = time.monotonic() + 60
    rows: list[dict[str, Any]] = []
    while not rows and time.monotonic() < deadline:
        with NO_PROXY.open(f"{url}/api/v1/{kind}?{arguments}", timeout=30) as answer:
            data = json.load(answer)["data"]
        rows = data["result"] if isinstance(data, dict) else data
        time.sleep(0.1)
    return rows
