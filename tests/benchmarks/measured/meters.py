"""How a stretch of work is measured: CPU time of the process, or instructions under callgrind."""

from __future__ import annotations

import contextvars
import gc
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tests.benchmarks.measured.callgrind import Callgrind

_SLOWER_BY = 100


class CpuTime(NamedTuple):
    """CPU seconds of one stretch: in the calling thread, and in the whole process."""

    thread: float
    process: float


class Meter(Protocol):
    def measure(self, label: str, work: Callable[[], object]) -> None: ...


class CpuMeter:
    """Keeps a `CpuTime` per stretch, by label."""

    def __init__(self) -> None:
        self.readings: dict[str, list[CpuTime]] = {}

    def measure(self, label: str, work: Callable[[], object]) -> None:
        context = contextvars.copy_context()
        gc.collect()
        thread, process = time.thread_time(), time.process_time()
        context.run(work)
        spent = CpuTime(time.thread_time() - thread, time.process_time() - process)
        self.readings.setdefault(label, []).append(spent)


class InstructionMeter:
    """Lets callgrind count; the figures are in the files it writes."""

    def __init__(self) -> None:
        self._callgrind = Callgrind()

    def measure(self, label: str, work: Callable[[], object]) -> None:
        context = contextvars.copy_context()
        gc.collect()
        self._callgrind.begin()
        context.run(work)
        self._callgrind.end(label)


def slow_clock_down() -> None:
    """Let `time.monotonic` run as slowly as the program does under callgrind.

    What is done so many times a second is then done about as often per message as without it,
    whatever else the machine does.
    """
    began, used = time.monotonic(), time.process_time
    before = used()
    time.monotonic = lambda: began + (used() - before) / _SLOWER_BY


class NoMeter:
    """Does the work without measuring it: warm-up."""

    def measure(self, label: str, work: Callable[[], object]) -> None:
        del label
        contextvars.copy_context().run(work)
