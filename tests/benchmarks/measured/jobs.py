"""The jobs a measured process can be given; each returns what JSON can carry."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.measured.bench import Bench
from tests.benchmarks.measured.meters import (
    CpuMeter,
    InstructionMeter,
    Meter,
    NoMeter,
    slow_clock_down,
)
from tests.benchmarks.measured.packages import Package, prepare

Result = dict[str, Any]


def _start(framework: str, package: str, mode: str) -> tuple[Package, Callable[..., None]]:
    prepared = prepare(package, framework, mode)
    module = importlib.import_module(f"tests.benchmarks.measured.{framework}_bench")
    return prepared, module.run


def _round(meter: Meter, bench: Bench, package: Package, messages: int) -> None:
    meter.measure("send", lambda: bench.send(messages))
    meter.measure("execute", lambda: bench.execute(messages))
    meter.measure("export", package.telemetry.flush)


def cpu(
    framework: str, package: str, mode: str, *, messages: int, blocks: int, warm: int
) -> Result:
    """CPU microseconds a message, the median of `blocks` stretches of `messages` each."""
    prepared, run = _start(framework, package, mode)
    meter = CpuMeter()
    counts: Result = {}

    def body(bench: Bench) -> None:
        _round(NoMeter(), bench, prepared, warm)
        gc.freeze()
        before = prepared.telemetry.spans()
        for _ in range(blocks):
            _round(meter, bench, prepared, messages)
        spans = prepared.telemetry.spans() - before
        counts.update(spans=spans / (messages * blocks), points=prepared.telemetry.points())

    run(prepared, body)
    return _microseconds(meter, messages) | counts


def _microseconds(meter: CpuMeter, messages: int) -> Result:
    def figure(label: str, part: Callable[[Any], float]) -> float:
        return median(part(reading) for reading in meter.readings[label]) / messages * 1e6

    send, execute = (figure(label, lambda reading: reading.thread) for label in ("send", "execute"))
    total = [
        sum(reading.process for reading in block) / messages * 1e6
        for block in zip(*meter.readings.values(), strict=True)
    ]
    return {"send": send, "execute": execute, "total": median(total)}


def instructions(framework: str, package: str, mode: str, *, messages: int, warm: int) -> Result:
    """Under callgrind: write one file per stretch. The driver reads the counts from the files."""
    prepared, run = _start(framework, package, mode)

    def body(bench: Bench) -> None:
        slow_clock_down()
        _round(NoMeter(), bench, prepared, warm)
        meter = InstructionMeter()
        _round(meter, bench, prepared, messages)

    run(prepared, body)
    return {}


def parts(framework: str, package: str, mode: str, *, messages: int) -> Result:
    """Under callgrind: one file per single operation, done `messages` times."""
    del framework, package
    from tests.benchmarks.measured.parts import operations
    from tests.benchmarks.measured.providers import configure

    telemetry = configure(mode)
    todo = operations()

    def repeated(operation: Callable[[], object]) -> None:
        for _ in range(messages):
            operation()

    for operation in todo.values():
        repeated(operation)
    meter = InstructionMeter()
    for label, operation in todo.items():
        telemetry.flush()
        meter.measure(label, partial(repeated, operation))
    return {}


def encoding(framework: str, package: str, mode: str, *, messages: int) -> Result:
    """Under callgrind: one file per way to encode the spans of `messages` messages as OTLP."""
    from tests.benchmarks.measured.encoding import keep_spans, ways

    prepared, run = _start(framework, package, mode)
    spans = keep_spans()
    run(prepared, lambda bench: _round(NoMeter(), bench, prepared, 2 * messages))
    half = len(spans) // 2
    first, second = spans[:half], spans[half:]
    todo = ways()
    for encode in todo.values():
        encode(first)
    meter = InstructionMeter()
    for label, encode in todo.items():
        meter.measure(label, partial(encode, second))
    return {}


def relaying(framework: str, package: str, mode: str, *, messages: int) -> Result:
    """Under callgrind: one file per side of the hand-over in a worker with one exporter."""
    del framework, package, mode
    from tests.benchmarks.measured.relaying import Both

    both = Both()
    for _ in range(2):
        both.deliver(messages)
        both.take()
    both.settle()
    meter = InstructionMeter()
    meter.measure("deliver", partial(both.deliver, messages))
    meter.measure("take", both.take)
    meter.measure("settle", both.settle)
    return {"counted": both.counted()}


def wire(framework: str, package: str, mode: str) -> Result:
    """Size of one message on the wire, in bytes."""
    prepared, run = _start(framework, package, mode)
    sizes: list[int] = []
    run(prepared, lambda bench: sizes.append(bench.message_bytes()))
    return {"bytes": sizes[0]}


def memory(framework: str, package: str, mode: str, *, messages: int) -> Result:
    """Private memory of the process after `messages` went through it, in KiB."""
    prepared, run = _start(framework, package, mode)
    result: Result = {}

    def body(bench: Bench) -> None:
        for _ in range(messages // 100):
            _round(NoMeter(), bench, prepared, 100)
        gc.collect()
        result.update(private_kib=_private_kib(), modules=len(sys.modules))

    run(prepared, body)
    return result


def _private_kib() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


def growth(
    framework: str, package: str, mode: str, *, messages: int, step: int, task_names: int = 1
) -> Result:
    """Memory and cost along a long run: one point per `step` messages, of its last thousand."""
    prepared, run = _start(framework, package, mode)
    points: list[Result] = []

    def body(bench: Bench) -> None:
        chunk = 1000
        _round(NoMeter(), bench, prepared, chunk)
        for sent in range(0, messages, chunk):
            meter = CpuMeter()
            for _ in range(4):
                _round(meter, bench, prepared, chunk // 4)
            if (sent + chunk) % step == 0 or sent == 0:
                cost = _microseconds(meter, chunk // 4)["total"]
                points.append({"messages": sent + chunk, "private_kib": _private_kib(), "us": cost})

    run(prepared, body, task_names)
    return {"series": points, "points": prepared.telemetry.points()}


JOBS: dict[str, Callable[..., Result]] = {
    "cpu": cpu,
    "instructions": instructions,
    "parts": parts,
    "encoding": encoding,
    "relaying": relaying,
    "wire": wire,
    "memory": memory,
    "growth": growth,
}
