"""What users run: real workers over Redis, with export to a collector on this machine."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.cost import available
from tests.benchmarks.environments import ROOT, Environments
from tests.benchmarks.launching import MeasurementFailedError, measured_environ
from tests.benchmarks.progress import say
from tests.benchmarks.variants import WIRE, WIRE_PACKAGES, Variant
from tests.benchmarks.workers import (
    Memory,
    Moment,
    Rate,
    answers,
    free_port,
    memory_of,
    redis,
    wait_until,
)

_WARM = 200
_PROCESSES = 4
_REST_S = 2.0
_STOP_S = 30.0


class Run(NamedTuple):
    """One worker that has worked its queue off, and what the collector got of it."""

    rate: Rate
    memory: Memory | None
    counted: dict[str, int]


Runs = dict[Variant, list[Run]]


class Place(NamedTuple):
    """Where workers find what they talk to."""

    environments: Environments
    redis: str
    sink: str


def measure(
    framework: str, environments: Environments, packages: set[str], *, rounds: int, messages: int
) -> tuple[Runs, list[Run]]:
    """Each package in turn, in another order each round; and plain again at the end of each."""
    variants, place = _variants(framework, environments, packages)
    found: Runs = {variant: [] for variant in variants}
    again: list[Run] = []
    with place as there:
        for number in range(rounds if variants else 0):
            turn = number % len(variants)
            for variant in [*variants[turn:], *variants[:turn], variants[0]]:
                say(f"wire {number + 1}/{rounds} {variant}")
                run = work_off(there, variant, messages)
                into = found[variant] if len(found[variant]) == number else again
                into.append(run)
    return found, again


def measure_short_lives(
    environments: Environments, packages: set[str], *, rounds: int, messages: int
) -> Runs:
    """As `measure`, of Celery with a process for each task."""
    variants, place = _variants("celery", environments, packages)
    found: Runs = {variant: [] for variant in variants}
    with place as there:
        for number in range(rounds):
            for variant in variants:
                say(f"short lives {number + 1}/{rounds} {variant}")
                run = work_off(there, variant, messages, ("--max-tasks-per-child=1",))
                found[variant].append(run)
    return found


def _variants(
    framework: str, environments: Environments, packages: set[str]
) -> tuple[list[Variant], Any]:
    wanted = [Variant(framework, each, WIRE) for each in WIRE_PACKAGES[framework]]
    asked = packages | ({"ours+relay"} if "ours" in packages else set())
    if shutil.which("redis-server") is None:
        say("left out: wire: no redis-server")
        wanted = []
    return available([each for each in wanted if each.package in asked], environments), open_place(
        environments
    )


@contextmanager
def open_place(environments: Environments) -> Iterator[Place]:
    """A collector and a Redis of our own, until the end."""
    port = free_port()
    python = environments.python("ours")
    command = [str(python), "-m", "tests.benchmarks.measured.sink", str(port)]
    sink = subprocess.Popen(command, cwd=ROOT, env=measured_environ())
    try:
        wait_until(lambda: answers(port))
        with redis() as url:
            yield Place(environments, url, f"http://127.0.0.1:{port}")
    finally:
        sink.terminate()
        sink.wait()


def work_off(
    place: Place,
    variant: Variant,
    messages: int,
    arguments: tuple[str, ...] = (),
    settings: Mapping[str, str] | None = None,
) -> Run:
    """Fill the queue, start a worker, and look at the tasks after the first few.

    `settings` are environment variables of both, over those that export to the collector.
    """
    python = place.environments.python(variant.environment)
    with tempfile.TemporaryDirectory() as scratch:
        done = Path(scratch, "done")
        done.touch()
        environ = _environ(place, variant, done) | dict(settings or {})
        module = f"tests.benchmarks.measured.wire_{variant.framework}"
        fill = [str(python), "-m", module, str(messages)]
        subprocess.run(fill, cwd=ROOT, env=environ, check=True, capture_output=True)
        _counted(place)
        command = [str(python), *_command(variant.framework, module), *arguments]
        return _drain(command, environ, done, messages, place)


def _environ(place: Place, variant: Variant, done: Path) -> dict[str, str]:
    return measured_environ() | {
        "BENCH_PACKAGE": variant.package,
        "BENCH_REDIS": place.redis,
        "BENCH_DONE": str(done),
        "OTEL_EXPORTER_OTLP_ENDPOINT": place.sink,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "bench",
        "OTEL_QUEUE_RELAY": "on" if variant.package.endswith("+relay") else "off",
        "DD_TRACE_AGENT_URL": place.sink,
        "DD_CELERY_DISTRIBUTED_TRACING": "true",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    }


def _command(framework: str, module: str) -> list[str]:
    if framework == "dramatiq":
        return ["-m", "dramatiq", module, "-p", str(_PROCESSES), "-t", "2"]
    quiet = ["-l", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    return ["-m", "celery", "-A", module, "worker", "-P", "prefork", "-c", str(_PROCESSES), *quiet]


def _drain(
    command: list[str], environ: dict[str, str], done: Path, messages: int, place: Place
) -> Run:
    lasting = not any(each.startswith("--max-tasks") for each in command)
    worker = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: done.stat().st_size >= (_WARM if lasting else _PROCESSES))
        first = Moment(done, worker.pid)
        wait_until(lambda: done.stat().st_size >= messages)
        rate = first.rate_until(Moment(done, worker.pid))
        time.sleep(_REST_S if lasting else 0)
        memory = memory_of(worker.pid) if lasting else None
    finally:
        _stop(worker)
    return Run(rate, memory, _counted(place))


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def _counted(place: Place) -> dict[str, int]:
    with urllib.request.urlopen(f"{place.sink}/counted", timeout=60) as answer:
        counted: dict[str, int] = json.load(answer)
        return counted


def main() -> None:
    """One run of one variant, printed: `python -m tests.benchmarks.wire celery ours+relay 2000`."""
    framework, package, messages, *arguments = sys.argv[1:]
    environments = Environments(ROOT / ".tox" / "bench-envs")
    try:
        with open_place(environments) as there:
            variant = Variant(framework, package, WIRE)
            run = work_off(there, variant, int(messages), tuple(arguments))
            sys.stdout.write(f"{run}\n")
    except MeasurementFailedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
