"""`otel-queue demo`, run as a user runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from otel_queue_plugins.cli.demo.scenarios import scenarios
from tests.environment import clean_environment
from tests.processes import ManagedProcess, Processes
from tests.receiver import FaultyReceiver

pytestmark = pytest.mark.slow

pytest.importorskip("rich")
FRAMEWORKS = ("celery", "dramatiq")
COMMAND = [sys.executable, "-m", "otel_queue_plugins.cli.main", "demo"]
LONGEST_S = 30.0


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    """Each framework that is installed."""
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A temporary directory of its own shows what is left behind."""
    return clean_environment(TMPDIR=str(tmp_path), COLUMNS="80")


def _run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=8 * LONGEST_S,
        check=False,
    )


def _left_over(folder: Path) -> list[Path]:
    return list(folder.glob("otel-queue-demo-*"))


@pytest.mark.timing
def test_the_demo_shows_every_story(
    framework: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """Complete, in 80 columns without escape sequences, in less than 30 s, and tidy afterwards."""
    begun = time.monotonic()
    done = _run(framework, env=environment)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < LONGEST_S
    assert "\x1b" not in done.stdout + done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    for scenario in scenarios(framework):
        assert re.search(
            rf"^{re.escape(scenario.title)} +trace [0-9a-f]{{32}}$", done.stdout, re.MULTILINE
        )
    for said in ("taskqueue.retry +", "messaging.process.duration", "complete after"):
        assert said in done.stdout
    assert "spans" in done.stderr
    assert _left_over(tmp_path) == []


def test_the_result_can_be_had_as_json(framework: str, environment: dict[str, str]) -> None:
    """Nothing else on stdout; every span and series with all it has."""
    done = _run(framework, "--json", env=environment)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["framework"] == framework
    assert (document["complete"], document["errors"]) == (True, [])
    told = {trace["title"]: trace["spans"] for trace in document["traces"]}
    for scenario in scenarios(framework):
        spans = told[scenario.title]
        expected = sum(scenario.spans().values())
        assert len(spans) == expected, scenario.title
        assert {span["service"] for span in spans} == {"web", "worker"}
        assert [span["depth"] for span in spans].count(0) == 1
    outcomes = Counter(
        span["attributes"].get("taskqueue.task.outcome")
        for trace in document["traces"]
        for span in trace["spans"]
    )
    assert outcomes["retry"] == 2
    names = {metric["name"] for metric in document["metrics"]}
    assert {"messaging.client.sent.messages", "taskqueue.task.wait"} <= names


def test_a_second_endpoint_gets_the_same(environment: dict[str, str]) -> None:
    """Under the headers of the standard variable."""
    pytest.importorskip("celery")
    with FaultyReceiver() as backend:
        env = {**environment, "OTEL_EXPORTER_OTLP_HEADERS": "x-team=shop,x-key=a%20b"}
        done = _run("celery", "--json", "--otlp-endpoint", backend.endpoint, env=env)
        assert done.returncode == 0, done.stderr
        shown = {
            span["span_id"]
            for trace in json.loads(done.stdout)["traces"]
            for span in trace["spans"]
        }
        assert {span.span_id for span in backend.spans()} == shown
        assert backend.points()
        assert {request.headers["x-key"] for request in backend.requests()} == {"a b"}


def test_a_second_endpoint_that_does_not_answer_is_told(environment: dict[str, str]) -> None:
    """The traces are shown, and the exit code says that something is wrong."""
    pytest.importorskip("celery")
    done = _run("celery", "--otlp-endpoint", "http://127.0.0.1:9", env=environment)
    assert done.returncode == 1
    assert "not passed on" in done.stderr
    assert "http://127.0.0.1:9/v1/traces" in done.stderr
    assert "complete after" in done.stdout


def test_what_did_not_arrive_in_time_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    """Exit code 1, the reason, and the end of the worker's log."""
    pytest.importorskip("celery")
    done = _run("celery", "--timeout", "0.01", env=environment)
    assert done.returncode == 1
    assert "was not ready in time" in done.stderr
    assert done.stdout == ""
    assert _left_over(tmp_path) == []


def test_a_broker_that_is_not_there_is_told(environment: dict[str, str]) -> None:
    """Naming the address."""
    pytest.importorskip("celery")
    arguments = ("celery", "--broker-url", "redis://127.0.0.1:9", "--timeout", "6")
    done = _run(*arguments, env=environment)
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_nothing_behind(
    processes: Processes, environment: dict[str, str], tmp_path: Path, number: int, code: int
) -> None:
    """Neither processes nor files."""
    pytest.importorskip("celery")
    demo = processes.start("demo", [*COMMAND, "celery"], env=environment)
    demo.wait_for_log("worker +celery, process")
    assert _stop(demo, number) == code
    (worker,) = re.findall(r"process (\d+)", demo.log)[:1]
    assert not Path(f"/proc/{worker}").exists()
    assert _left_over(tmp_path) == []


def _stop(demo: ManagedProcess, number: int) -> int:
    demo.send_signal(number)
    return demo.wait()
