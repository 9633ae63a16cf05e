"""Throughput of a real prefork worker over a real Redis, with tasks of one millisecond."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.cost import available
from tests.benchmarks.environments import ROOT, Environments
from tests.benchmarks.figures import figure, table
from tests.benchmarks.launching import MeasurementFailedError, measured_environ
from tests.benchmarks.progress import say
from tests.benchmarks.variants import Variant, plain

Throughputs = dict[Variant, list[float]]

_APP = "tests.benchmarks.measured.redis_app"
_WARM = 200
_DEADLINE_S = 120
_POLL_S = 0.005


def measure(
    environments: Environments, packages: set[str], *, rounds: int, messages: int
) -> Throughputs:
    """Tasks a second of each package, in turn; needs redis-server."""
    if shutil.which("redis-server") is None:
        say("left out: end to end: no redis-server")
        return {}
    wanted = [plain("celery"), Variant("celery", "contrib", "metrics")]
    wanted += [Variant("celery", "ours", mode) for mode in ("metrics", "otlp+metrics")]
    variants = available([v for v in wanted if v.package in packages], environments)
    found: Throughputs = {variant: [] for variant in variants}
    with _redis() as url:
        for number in range(rounds):
            for variant in variants:
                say(f"end to end {number + 1}/{rounds} {variant}")
                python = environments.python(variant.environment)
                found[variant].append(_throughput(python, variant, url, messages))
    return found


def throughput_table(found: Throughputs) -> str:
    """Tasks a second, and the share of the plain worker's in the same round."""
    if not found:
        return "end to end: not measured"
    base = found[plain("celery")]
    rows = []
    for variant, rates in found.items():
        ratios = figure([rate / plain_rate for rate, plain_rate in zip(rates, base, strict=True)])
        spread = f"{ratios.middle:.3f} ({ratios.low:.3f}..{ratios.high:.3f})"
        rows.append([str(variant), str(figure(rates)), spread])
    header = ["", "tasks/s (quartiles)", "of plain (quartiles)"]
    return f"Celery over Redis, prefork 2, tasks of 1 ms\n\n{table(header, rows)}"


@contextmanager
def _redis() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_until(lambda: _answers(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _throughput(python: Path, variant: Variant, url: str, messages: int) -> float:
    """Fill the queue, start the worker, and time the tasks after the first few."""
    with tempfile.TemporaryDirectory() as scratch:
        done = Path(scratch, "done")
        done.touch()
        environ = measured_environ() | {
            "BENCH_PACKAGE": variant.package,
            "BENCH_MODE": variant.mode,
            "BENCH_REDIS": url,
            "BENCH_DONE": str(done),
        }
        fill = [str(python), "-m", _APP, str(messages)]
        subprocess.run(fill, cwd=ROOT, env=environ, check=True, capture_output=True)
        return _drain(python, environ, done, messages)


def _drain(python: Path, environ: dict[str, str], done: Path, messages: int) -> float:
    command = [str(python), "-m", "celery", "-A", _APP, "worker", "-P", "prefork", "-c", "2"]
    command += ["-l", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        first, at_first = _wait_for_size(done, _WARM)
        last, at_last = _wait_for_size(done, messages)
        return (at_last - at_first) / (last - first)
    finally:
        worker.terminate()
        worker.wait()


def _wait_for_size(path: Path, size: int) -> tuple[float, int]:
    _wait_until(lambda: path.stat().st_size >= size)
    return time.perf_counter(), path.stat().st_size


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise MeasurementFailedError("end to end: the worker did not finish in time")
        time.sleep(_POLL_S)
