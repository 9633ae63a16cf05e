"""Throughput of a real prefork worker over a real Redis, with tasks of one millisecond."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.cost import available
from tests.benchmarks.environments import ROOT, Environments
from tests.benchmarks.figures import figure, table
from tests.benchmarks.launching import MeasurementFailedError, measured_environ
from tests.benchmarks.progress import say
from tests.benchmarks.variants import Variant, plain


class Rate(NamedTuple):
    """Tasks a second, and the CPU microseconds a task took in the worker's processes."""

    per_second: float
    main_us: float
    children_us: float


Throughputs = dict[Variant, list[Rate]]

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
                found[variant].append(_work_off(python, variant, url, messages))
    return found


def throughput_table(found: Throughputs) -> str:
    """Tasks a second, and the share of the plain worker's in the same round."""
    if not found:
        return "end to end: not measured"
    base = found[plain("celery")]
    header = ["", "tasks/s (quartiles)", "of plain (quartiles)", "main us", "children us"]
    rows = [_row(variant, rates, base) for variant, rates in found.items()]
    title = "Celery over Redis, prefork 2, tasks of 1 ms; CPU time a task takes in the worker"
    return f"{title}\n\n{table(header, rows)}"


def _row(variant: Variant, rates: list[Rate], base: list[Rate]) -> list[str]:
    of_plain = [rate.per_second / alone.per_second for rate, alone in zip(rates, base, strict=True)]
    share = figure(of_plain)
    return [
        str(variant),
        str(figure([rate.per_second for rate in rates])),
        f"{share.middle:.3f} ({share.low:.3f}..{share.high:.3f})",
        f"{figure([rate.main_us for rate in rates]).middle:.0f}",
        f"{figure([rate.children_us for rate in rates]).middle:.0f}",
    ]


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


def _work_off(python: Path, variant: Variant, url: str, messages: int) -> Rate:
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


def _drain(python: Path, environ: dict[str, str], done: Path, messages: int) -> Rate:
    command = [str(python), "-m", "celery", "-A", _APP, "worker", "-P", "prefork", "-c", "2"]
    command += ["-l", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until(lambda: done.stat().st_size >= _WARM)
        first = _Moment(done, worker.pid)
        _wait_until(lambda: done.stat().st_size >= messages)
        return first.rate_until(_Moment(done, worker.pid))
    finally:
        worker.terminate()
        worker.wait()


class _Moment:
    """How far a worker is, and what CPU time it has taken: its main process, its children."""

    def __init__(self, done: Path, worker: int) -> None:
        self.at = time.perf_counter()
        self.done = done.stat().st_size
        self.main = _cpu_seconds(worker)
        children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        self.children = sum(_cpu_seconds(int(child)) for child in children)

    def rate_until(self, later: _Moment) -> Rate:
        tasks = later.done - self.done
        return Rate(
            per_second=tasks / (later.at - self.at),
            main_us=(later.main - self.main) / tasks * 1e6,
            children_us=(later.children - self.children) / tasks * 1e6,
        )


def _cpu_seconds(process: int) -> float:
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise MeasurementFailedError("end to end: the worker did not finish in time")
        time.sleep(_POLL_S)
