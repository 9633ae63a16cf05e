"""The how-tos, run as written: their code, their variables, a real Redis, OTLP.

On Redis alone: what the pages say does not depend on the broker.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import pages
from tests.brokers.telemetry_cases import CONSUMED, LATER, RESTING
from tests.brokers.written import SENT, TASK, start, write

if TYPE_CHECKING:
    from otel_queue_plugins.cli.received import ReceivedLog
    from tests.brokers.harness import Lab

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_log_page_correlates_line_and_exported_record(framework: str, own_lab: Lab) -> None:
    """A line names its trace and task, and arrives as a record of the process span."""
    app = write(own_lab, pages.block("how-to/logs", "python", f"otel_queue_plugins.{framework}"))
    producer = own_lab.producer(app)
    worker = start(own_lab, framework, app, pages.exported("how-to/logs"))
    sent, task = producer.run(SENT[framework]), TASK[framework]

    _, process = own_lab.receiver.expect_trace(sent.trace_id, 2)
    worker.wait_for_log(f"^INFO charging order 42 trace={sent.trace_id} task={task}$")
    record = arrived(own_lab, "charging order 42")
    assert (record.trace_id, record.span_id) == (sent.trace_id, process.span_id)
    assert record.attributes["taskqueue.task.name"] == task
    assert record.attributes["messaging.message.id"] == process.attributes["messaging.message.id"]


def arrived(lab: Lab, body: str) -> ReceivedLog:
    """Wait for the one log record with this text."""

    def found() -> list[ReceivedLog]:
        return [record for record in lab.receiver.logs() if record.body == body]

    lab.receiver.until(lambda: bool(found()), f"the log record {body!r}")
    (record,) = found()
    return record


def test_provider_set_by_application_gets_spans(own_lab: Lab) -> None:
    """Measurements go to the provider of the environment."""
    app = write(own_lab, pages.block("how-to/providers", "python", "set_tracer_provider("))
    producer = own_lab.producer(app)
    own_lab.celery(app)
    sent = producer.run("charge.delay(42)")
    spans = own_lab.receiver.expect_trace(sent.trace_id, 2)
    assert {span.resource["deployment.environment.name"] for span in spans} == {"staging"}
    own_lab.receiver.expect_total(CONSUMED, 1)
    (point,) = own_lab.receiver.latest_points(CONSUMED)
    assert "deployment.environment.name" not in point.resource


def test_own_provider_with_variable_of_page_is_the_only_one(own_lab: Lab) -> None:
    """No signal is set up but the one that the code sets."""
    app = write(own_lab, pages.block("how-to/providers", "python", "set_tracer_provider("))
    env = pages.exported("how-to/providers")
    producer = own_lab.producer(app, env)
    worker = own_lab.celery(app, env=env)
    sent = producer.run("charge.delay(42)")
    own_lab.receiver.expect_trace(sent.trace_id, 2)
    producer.run(RESTING)
    assert worker.stop() == 0
    assert own_lab.receiver.requests("/v1/metrics") == []


def test_provider_in_argument_gets_spans_of_this_package_only(own_lab: Lab) -> None:
    """Measurements go to the provider of the environment."""
    app = write(own_lab, pages.block("how-to/providers", "python", "tracer_provider=provider"))
    producer = own_lab.producer(app)
    worker = own_lab.celery(app)
    sent = producer.run("charge.delay(42)")
    worker.wait_for_log(f'"trace_id": "0x{sent.trace_id}"')
    own_lab.receiver.expect_total(CONSUMED, 1)
    assert own_lab.receiver.requests("/v1/traces") == []


def test_sampling_by_producer_holds_for_worker(own_lab: Lab) -> None:
    """What is not sampled is still counted."""
    app = write(own_lab, pages.block("tutorial/celery", "python", "def charge"))
    env = {**pages.exported("how-to/sampling"), "OTEL_TRACES_SAMPLER_ARG": "0"}
    producer = own_lab.producer(app, env)
    worker = own_lab.celery(app, env=pages.exported("how-to/sampling"))
    producer.run("[charge.delay(42) for _ in range(30)]", caller=False)
    own_lab.receiver.expect_total(CONSUMED, 30)
    producer.run(RESTING)
    assert worker.stop() == 0
    assert own_lab.receiver.spans() == []


def test_container_of_page_names_its_pod_and_exports_at_sigterm(own_lab: Lab) -> None:
    """The resource has the attributes of the pod."""
    manifest = pages.block("how-to/kubernetes", "yaml", "kind: Deployment")
    app = write(own_lab, pages.block("tutorial/celery", "python", "def charge"))
    command = json.loads(re.findall(r"command: (.*)", manifest)[0])
    env = {**LATER, **environment(manifest)}
    assert env.pop("OTEL_EXPORTER_OTLP_ENDPOINT") == "http://10.0.0.7:4318"
    producer = own_lab.producer(app)
    worker = own_lab.processes.start(
        "worker",
        [f"{Path(sys.executable).parent}/{command[0]}", *command[1:], "-l", "INFO"],
        env=own_lab.env("worker", app, env),
        cwd=own_lab.directory,
    )
    worker.wait_for_log(r" ready\.$", timeout=30)
    sent = producer.run("charge.delay(42)")
    worker.wait_for_log("succeeded in")
    producer.run(RESTING)
    assert worker.stop() == 0
    _, process = own_lab.receiver.expect_trace(sent.trace_id, 2)
    assert process.service == "shop-worker"
    assert process.resource["service.version"] == "1.4.0"
    assert process.resource["k8s.node.name"] == "node-a"
    assert process.resource["k8s.pod.name"] == "shop-worker-5d9c-x2x7q"


def environment(manifest: str) -> dict[str, str]:
    """Resolve the variables as Kubernetes does: fields of the pod, and earlier ones, `$(NAME)`."""
    fields = {
        "status.hostIP": "10.0.0.7",
        "spec.nodeName": "node-a",
        "metadata.name": "shop-worker-5d9c-x2x7q",
    }
    env: dict[str, str] = {}
    for name, field, value in re.findall(
        r"- name: (\w+)\n +(?:valueFrom: .*fieldPath: ([\w.]+)}}|value: (.*))$",
        manifest,
        re.MULTILINE,
    ):
        expanded = re.sub(r"\$\((\w+)\)", lambda found: env[found[1]], value)
        env[name] = fields[field] if field else expanded
    return env
