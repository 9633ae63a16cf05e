"""What a worker logs at its start: that telemetry is on, or that Prometheus is refused.

On Redis alone: the log does not depend on the broker.
"""

from __future__ import annotations

import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import CELERY, DRAMATIQ

if TYPE_CHECKING:
    from tests.brokers.harness import App, Lab
    from tests.processes import ManagedProcess

ON = "telemetry is on: traces and metrics to "
REFUSED = "OTEL_METRICS_EXPORTER='prometheus': prometheus would show one of several processes"

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


@pytest.fixture
def port() -> int:
    """A port that is not in use."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
        return found


def prometheus(port: int) -> dict[str, str]:
    """The environment of a user of Prometheus."""
    return {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
    }


def run_ten(lab: Lab, app: App, call: str, worker: ManagedProcess, done: str) -> None:
    """Send ten tasks, and wait for their process spans."""
    producer = lab.producer(app, {"OTEL_METRICS_EXPORTER": "none"})
    producer.run(f"for n in range(10): ok.{call}(n)")
    worker.wait_for_log(done, count=10)
    lab.receiver.until(
        lambda: sum(span.kind == "consumer" for span in lab.receiver.spans()) == 10, "10 spans"
    )


def scraped(port: int) -> str:
    """Return the page of Prometheus."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        return str(page.read().decode())


def test_prefork_worker_logs_one_line_for_all_its_processes(own_lab: Lab) -> None:
    """Also with a new process for each task."""
    app = own_lab.module(CELERY)
    worker = own_lab.celery(app, arguments=["--max-tasks-per-child", "1"])
    run_ten(own_lab, app, "delay", worker, r"ok\[.*succeeded")
    assert worker.log.count(ON) == 1
    said = f"{ON}{own_lab.receiver.endpoint} (http/protobuf); logs off; service worker"
    worker.wait_for_log(f"INFO.*{said.replace('(', '[(]').replace(')', '[)]')}")


def test_dramatiq_worker_logs_one_line_for_each_process(own_lab: Lab) -> None:
    """They start independently, and share no memory."""
    app = own_lab.module(DRAMATIQ)
    worker = own_lab.dramatiq(app, processes=2)
    run_ten(own_lab, app, "send", worker, "ok ran")
    worker.wait_for_log(ON, count=2)
    assert worker.log.count(ON) == 2


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "dramatiq", "dramatiq of one"])
def test_prometheus_shows_the_tasks_of_all_processes(own_lab: Lab, pool: str, port: int) -> None:
    """The page has the count of every task, and nothing is refused."""
    pytest.importorskip("opentelemetry.exporter.prometheus")
    strict = {**prometheus(port), "OTEL_QUEUE_STRICT": "yes"}
    if pool.startswith("dramatiq"):
        app = own_lab.module(DRAMATIQ)
        worker = own_lab.dramatiq(app, processes=1 if "one" in pool else 3, env=strict)
        run_ten(own_lab, app, "send", worker, "ok ran")
    else:
        app = own_lab.module(CELERY)
        one_each = ["--max-tasks-per-child", "1"] if pool == "prefork" else []
        worker = own_lab.celery(app, pool=pool, arguments=one_each, env=strict)
        run_ten(own_lab, app, "delay", worker, r"ok\[.*succeeded")
    assert REFUSED not in worker.log
    assert "Traceback" not in worker.log
    own_lab.receiver.until(lambda: counted(scraped(port)) == 10, "10 counted")


def counted(page: str) -> float:
    """The number of deliveries in a page of Prometheus."""
    lines = page.splitlines()
    values = [
        line.rpartition(" ")[2]
        for line in lines
        if line.startswith("messaging_client_consumed_messages_total{")
    ]
    return sum(map(float, values))
