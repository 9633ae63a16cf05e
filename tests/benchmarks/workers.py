"""Real workers over a real Redis: started, waited for, and what they take from the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.launching import MeasurementFailedError

_DEADLINE_S = 120
_POLL_S = 0.005


class Rate(NamedTuple):
    """Tasks a second, and the CPU microseconds a task took in the worker's processes."""

    per_second: float
    main_us: float
    children_us: float


class Memory(NamedTuple):
    """Proportional set sizes in MiB: main process, a child, all together. Threads of a child."""

    main: float
    child: float
    total: float
    threads: int


@contextmanager
def redis() -> Iterator[str]:
    """The URL of a Redis of our own."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool]) -> None:
    """Raises MeasurementFailedError after two minutes."""
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise MeasurementFailedError("the worker did not finish in time")
        time.sleep(_POLL_S)


def children_of(process: int) -> list[int]:
    """The pids of its direct children, whichever of its threads has forked them."""
    tasks = Path(f"/proc/{process}/task")
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


class Moment:
    """How far a worker is, and what CPU time it has taken: its main process, its children.

    Children are those that are there and those that have ended.
    """

    def __init__(self, done: Path, worker: int) -> None:
        self.at = time.perf_counter()
        self.done = done.stat().st_size
        self.main, ended = _cpu_seconds(worker)
        self.children = ended + sum(sum(_cpu_seconds(child)) for child in children_of(worker))

    def rate_until(self, later: Moment) -> Rate:
        """Between two moments of one worker."""
        tasks = later.done - self.done
        return Rate(
            per_second=tasks / (later.at - self.at),
            main_us=(later.main - self.main) / tasks * 1e6,
            children_us=(later.children - self.children) / tasks * 1e6,
        )


def _cpu_seconds(process: int) -> tuple[float, float]:
    """Of a process, and of its children that have ended; 0 if it has ended itself."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    tick = os.sysconf("SC_CLK_TCK")
    own, ended = (int(after_name[at]) + int(after_name[at + 1]) for at in (11, 13))
    return own / tick, ended / tick


def memory_of(worker: int) -> Memory:
    """Of a worker and its children, the middle one for one of them."""
    children = sorted(children_of(worker), key=_pss_mib)
    child = children[len(children) // 2]
    threads = len(list(Path(f"/proc/{child}/task").iterdir()))
    main, of_children = _pss_mib(worker), sum(map(_pss_mib, children))
    return Memory(main, _pss_mib(child), main + of_children, threads)


def _pss_mib(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
