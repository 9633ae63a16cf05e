"""Which part of ours takes the time of a worker, and what a rest before each task does to any code.

    python -m tests.benchmarks.wire_parts celery --rounds 2 --messages 4000
    python -m tests.benchmarks.wire_parts dramatiq --rounds 3 --messages 16000
    python -m tests.benchmarks.wire_parts rest

The first two run workers as `--sections wire` does, with signals left out by the standard
variables. Do not run anything beside them. `rest` measures functions of the standard library, and
no package.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import json
import sys
import textwrap
import time
from statistics import median
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tests.benchmarks.environments import ROOT, Environments
from tests.benchmarks.figures import table
from tests.benchmarks.progress import say
from tests.benchmarks.variants import WIRE, Variant
from tests.benchmarks.wire import Run, open_place, work_off
from tests.benchmarks.wire_tables import added_us

if TYPE_CHECKING:
    from collections.abc import Callable

_PARTS: Final = {
    "plain": ("plain", {}),
    "ours, disabled": ("ours", {"OTEL_SDK_DISABLED": "true"}),
    "ours, traces": ("ours", {"OTEL_METRICS_EXPORTER": "none"}),
    "ours, metrics": ("ours", {"OTEL_TRACES_EXPORTER": "none"}),
    "ours, both": ("ours", {}),
}
_OTHERS: Final = {"celery": "contrib", "dramatiq": "instrumentor"}
_RESTS_MS: Final = (0, 0.5, 2, 10)
_CALLS: Final = 600


def measure(framework: str, rounds: int, messages: int) -> dict[str, list[Run]]:
    """Each part in turn, round after round."""
    parts: dict[str, tuple[str, dict[str, str]]] = {**_PARTS}
    parts[_OTHERS[framework]] = (_OTHERS[framework], {})
    relay = "+relay" if framework == "celery" else ""
    found: dict[str, list[Run]] = {name: [] for name in parts}
    with open_place(Environments(ROOT / ".tox" / "bench-envs")) as place:
        for number in range(rounds):
            for name, (package, settings) in parts.items():
                say(f"{framework} {number + 1}/{rounds} {name}")
                full = package + (relay if package == "ours" else "")
                variant = Variant(framework, full, WIRE)
                found[name].append(work_off(place, variant, messages, settings=settings))
    return found


def parts_table(found: dict[str, list[Run]]) -> str:
    """CPU microseconds a task, and what is added to the plain worker of the same round."""
    rows = [
        [
            name,
            f"{median(run.rate.per_second for run in runs):.0f}",
            f"{median(run.rate.main_us for run in runs):.0f}",
            f"{median(run.rate.children_us for run in runs):.0f}",
            f"{median(added_us(runs, found['plain'])):.0f}",
            str(runs[-1].counted.get("spans", 0)),
        ]
        for name, runs in found.items()
    ]
    return table(["", "tasks/s", "main us", "children us", "added us", "spans"], rows)


def rest_table() -> str:
    """Median CPU microseconds of a call that follows so long a sleep."""
    rows = [
        [name, *(f"{_median_us(function, rest):.0f}" for rest in _RESTS_MS)]
        for name, function in (("a loop", _loop), ("much code, once each", _much))
    ]
    return table(["us after a rest of", *(f"{rest:g} ms" for rest in _RESTS_MS)], rows)


def _median_us(function: Callable[[], object], rest_ms: float) -> float:
    times = []
    for _ in range(_CALLS):
        if rest_ms:
            time.sleep(rest_ms / 1000)
        began = time.thread_time_ns()
        function()
        times.append((time.thread_time_ns() - began) / 1000)
    return median(times)


def _loop() -> int:
    total = 0
    for number in range(1500):
        total += number
    return total


def _much() -> tuple[Any, ...]:
    return (
        json.loads(json.dumps({"a": [1, 2, {"b": "c"}]})),
        urlsplit("http://a.example/b?c=d"),
        copy.deepcopy([1, {"a": 2}]),
        inspect.signature(_much),
        textwrap.shorten("a b c d e f g h", 8),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("celery", "dramatiq", "rest"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=4000)
    options = parser.parse_args()
    if options.what == "rest":
        found = rest_table()
    else:
        found = parts_table(measure(options.what, options.rounds, options.messages))
    sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main()
