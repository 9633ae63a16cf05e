"""The app's processes of the deployment's files, run by hand: what its containers would run.

Commands, variables and configuration are those of the files; addresses are those of the test. In
place of the collector the receiver of the lab takes OTLP; Prometheus is the real one.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.readmes import EXAMPLES
from tests.environment import clean_environment
from tests.http_client import NO_PROXY, Client
from tests.services import configured_prometheus, free_port

pytest.importorskip("yaml")

from tests import deployments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.brokers.harness import Lab
    from tests.processes import ManagedProcess

NEEDED = ("fastapi", "httpx", "uvicorn", "opentelemetry.instrumentation.httpx")
README = deployments.PLACE / "README.md"
SENT = "messaging.client.sent.messages"
UP = 'count(up{job=~"events-.*"} == 1)'
DEAD_LETTERS = 'sum(taskqueue_task_dead_letters_total{job="events-worker"})'
DEPTH = 'max(taskqueue_queue_depth{job="events-report", taskqueue_queue_state="dead"})'


@dataclass(slots=True, kw_only=True)
class Deployed:
    """The app's services of the compose file, each at a port of this machine."""

    lab: Lab
    directory: Path
    ports: Mapping[str, int]

    def adapted(self, text: str, name: str) -> str:
        """A text that belongs to a service, with the addresses of the test in it."""
        port = str(self.ports.get(name, 0))
        for theirs, ours in {
            "redis://redis:6379/0": self.lab.broker.url,
            "http://collector:4318": self.lab.receiver.endpoint,
            "/monitoring": str(self.directory / "monitoring"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104
            "9464": port,
        }.items():
            text = text.replace(theirs, ours)
        return port if text == "8000" else text

    def start(self, name: str) -> ManagedProcess:
        """Start a service."""
        command, env = self._prepared(name, deployments.services()[name]["command"])
        return self.lab.processes.start(name, command, env=env, cwd=self.directory)

    def run(self, name: str, words: Sequence[str]) -> str:
        """Run a command in the environment of a service, which ends well; what it prints."""
        command, env = self._prepared(name, words)
        done = subprocess.run(
            command, env=env, cwd=self.directory, check=False, timeout=120, capture_output=True
        )
        assert done.returncode == 0, done
        return done.stdout.decode()

    def _prepared(self, name: str, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        program, *arguments = (self.adapted(word, name) for word in words)
        asked = deployments.services()[name].get("environment", {})
        env = {variable: self.adapted(value, name) for variable, value in asked.items()}
        # Sooner than by default, so that the test need not wait.
        sooner = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_QUEUE_STATE_INTERVAL": "1"}
        return [f"{Path(sys.executable).parent}/{program}", *arguments], clean_environment(
            **sooner, **env
        )

    def prometheus(self) -> Path:
        """The configuration of Prometheus, with the addresses of the test, and each second."""
        asked = deployments.document("prometheus.yml")
        asked["global"] = dict.fromkeys(asked["global"], "1s")
        asked["rule_files"] = [self.adapted(each, "prometheus") for each in asked["rule_files"]]
        for job in asked["scrape_configs"]:
            job.pop("dns_sd_configs", None)
            port = self.ports.get(job["job_name"].removeprefix("events-"), 0)
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port or free_port()}"]}]
        path = self.directory / "prometheus.yml"
        # Every JSON document is one of YAML.
        path.write_text(json.dumps(asked))
        return path


@pytest.fixture
def deployed(own_lab: Lab, tmp_path: Path) -> Deployed:
    """A copy of the app, because Prometheus and the dashboards are written beside it."""
    for module in NEEDED:
        pytest.importorskip(module)
    app = shutil.copytree(
        EXAMPLES / "fastapi_dramatiq", tmp_path / "app", ignore=shutil.ignore_patterns(".venv")
    )
    ports = {name: free_port() for name in ("worker", "report", "web")}
    return Deployed(lab=own_lab, directory=app, ports=ports)


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_event_is_in_traces_and_in_prometheus_and_scales_workers(deployed: Deployed) -> None:
    """Rules are loaded, probes answer, and the query of the autoscaler has a number."""
    services, received = deployments.services(), deployed.lab.receiver
    web, *_ = (deployed.start(name) for name in ("web", "worker", "report"))
    deployed.run("dashboards", services["dashboards"]["command"])
    worker = Client(deployed.ports["worker"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        worker.until(deployments.containers()["events-worker"][probe]["httpGet"]["path"], 200)
    _, *healthy = services["worker"]["healthcheck"]["test"]
    deployed.run("worker", healthy)
    web.wait_for_log("Uvicorn running on")

    with configured_prometheus(deployed.prometheus()) as url:
        event = f"http://127.0.0.1:{deployed.ports['web']}/events?kind=order.paid"
        NO_PROXY.open(urllib.request.Request(event, method="POST"), timeout=30).close()
        root = received.expect_span("POST /events")
        assert {span.service for span in received.expect_trace(root.trace_id, 12)} == {
            "events-web",
            "events-worker",
        }
        assert until(url, UP, 2) == 2
        assert until(url, DEAD_LETTERS, 1) == 1
        assert until(url, DEPTH, 1) == 1
        (trigger,) = deployments.document("kubernetes/scaling.yaml")["spec"]["triggers"]
        assert until(url, trigger["metadata"]["query"], 0) == 0
        rules = [rule for group in asked(url, "rules")["groups"] for rule in group["rules"]]
        assert len(rules) > 10
        assert {rule["lastError"] for rule in rules if "lastError" in rule} == set()

    looks = re.findall(r"docker compose exec (\w+) (.*)", README.read_text())
    shown = "".join(deployed.run(name, shlex.split(words)) for name, words in looks)
    assert f"http://localhost:16686/trace/{root.trace_id}" in shown, shown
    assert "EXPORTED" in shown, shown
    web.stop(signal.SIGTERM)
    received.expect_total(SENT, 2)
    assert {point.resource["service.name"] for point in received.points()} == {"events-web"}


def asked(url: str, kind: str, **arguments: str) -> Any:
    """What the API of Prometheus answers."""
    address = f"{url}/api/v1/{kind}?{urllib.parse.urlencode(arguments)}"
    with NO_PROXY.open(address, timeout=30) as answer:
        return json.load(answer)["data"]


def until(url: str, expression: str, value: float, timeout: float = 60) -> float | None:
    """The number that Prometheus has for an expression, as soon as it is `value`."""
    deadline, found = time.monotonic() + timeout, None
    while time.monotonic() < deadline:
        rows = asked(url, "query", query=expression)["result"]
        found = float(rows[0]["value"][1]) if rows else None
        if found == value:
            break
        time.sleep(0.2)
    return found
