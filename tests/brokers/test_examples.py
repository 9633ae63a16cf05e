"""The example projects, run by the commands of their READMEs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from otel_queue_plugins.cli.received import ReceivedSpan
from tests.environment import clean_environment, telemetry_environment
from tests.processes import Processes
from tests.receiver import FaultyReceiver
from tests.services import Broker, free_port

EXAMPLES = Path(__file__).parents[2] / "example_projects"
NEEDED = {
    "celery_app": ("celery", "fastapi", "uvicorn", "opentelemetry.instrumentation.fastapi"),
    "dramatiq_app": ("dramatiq", "flask", "opentelemetry.instrumentation.flask"),
}
READY = {"celery_app": r" ready\.$", "dramatiq_app": "Worker process is ready for action"}
CHARGED = {
    "POST /orders": 1,
    "send charge_card": 1,
    "process charge_card retry": 1,
    "process charge_card success": 1,
    "send send_receipt": 1,
    "process send_receipt success": 1,
    "send ask_for_review": 1,
    "process ask_for_review success": 1,
}
LABEL = {"send print_label": 1, "process print_label dead_letter": 1}


@pytest.mark.parametrize("name", ["celery_app", "dramatiq_app"])
def test_order_of_example_is_one_trace_from_request_to_last_task(
    name: str, own_broker: Broker, processes: Processes
) -> None:
    """Request, sends and attempts are one trace, whichever process recorded them."""
    for module in NEEDED[name]:
        pytest.importorskip(module)
    commands = _Commands(name, port=free_port())
    with FaultyReceiver() as receiver:
        env = clean_environment(BROKER_URL=own_broker.url)
        for step, service, ready in (
            ("worker", "shop-worker", READY[name]),
            ("web", "shop-web", "[Rr]unning on http"),
        ):
            told = {**env, **telemetry_environment(receiver.endpoint, service=service)}
            shell = ["sh", "-c", commands.of(step)]
            process = processes.start(step, shell, env=told, cwd=EXAMPLES / name)
            process.wait_for_log(ready, timeout=30)
        assert re.fullmatch(r"[0-9a-f]{8}", json.loads(_output(commands.of("curl")))["order"])

        expected = Counter(CHARGED if name == "celery_app" else {**CHARGED, **LABEL})
        receiver.wait_for(lambda: len(receiver.spans()) >= expected.total(), timeout=20)
        spans = receiver.spans()
    assert Counter(map(_label, spans)) == expected
    assert len({span.trace_id for span in spans}) == 1
    _check_family(spans)


class _Commands:
    """The commands of the README, with the programs of this environment and a free port."""

    def __init__(self, name: str, *, port: int) -> None:
        text = (EXAMPLES / name / "README.md").read_text()
        blocks = re.findall(r"^ +```sh\n(.*?)^ +```", text, re.DOTALL | re.MULTILINE)
        self._broker, self._install, self._backend, worker, web, curl = blocks
        self._blocks = {"worker": worker, "web": web, "curl": curl}
        self._port = port

    def of(self, step: str) -> str:
        """Return the command of a step, without the backend that it names."""
        lines = [line.strip() for line in self._blocks[step].splitlines()]
        (command,) = [line for line in lines if not line.startswith("export ")]
        _, _, command = command.rpartition("OTEL_SERVICE_NAME=")
        command = command.partition(" ")[2] if step != "curl" else command
        programs = f"{Path(sys.executable).parent}/"
        return command.replace(".venv/bin/", programs).replace("8000", str(self._port))


def _output(command: str) -> str:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=20, check=True
    ).stdout


def _label(span: ReceivedSpan) -> str:
    return " ".join(filter(None, (span.name, span.attributes.get("taskqueue.task.outcome"))))


def _check_family(spans: list[ReceivedSpan]) -> None:
    """Check that sends are children of what sent them, and attempts children of their send."""
    by_id = {span.span_id: span for span in spans}
    parents = {(span.name, by_id[span.parent_id].name if span.parent_id else "") for span in spans}
    assert parents - {
        ("send print_label", "POST /orders"),
        ("process print_label", "send print_label"),
    } == {
        ("POST /orders", ""),
        ("send charge_card", "POST /orders"),
        ("send ask_for_review", "POST /orders"),
        ("process charge_card", "send charge_card"),
        ("process ask_for_review", "send ask_for_review"),
        ("send send_receipt", "process charge_card"),
        ("process send_receipt", "send send_receipt"),
    }
    services = {span.kind: span.service for span in spans if span.kind in ("server", "consumer")}
    assert services == {"server": "shop-web", "consumer": "shop-worker"}
