"""Throughput of a real prefork worker over a real Redis, with tasks of one millisecond."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.benchmarks.cost import available
from tests.benchmarks.environments import ROOT, Environments
from tests.benchmarks.figures import figure, table
from tests.benchmarks.launching import measured_environ
from tests.benchmarks.progress import say
from tests.benchmarks.variants import Variant, plain
from tests.benchmarks.workers import Moment, Rate, redis, wait_until

Throughputs = dict[Variant, list[Rate]]

_APP = "tests.benchmarks.measured.redis_app"
_WARM = 200


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
    with redis() as url:
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
        wait_until(lambda: done.stat().st_size >= _WARM)
        first = Moment(done, worker.pid)
        wait_until(lambda: done.stat().st_size >= messages)
        return first.rate_until(Moment(done, worker.pid))
    finally:
        worker.terminate()
        worker.wait()
