"""Whether anything grows, over very many messages or very many task names."""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.benchmarks.cost import available
from tests.benchmarks.environments import Environments
from tests.benchmarks.figures import table
from tests.benchmarks.launching import MeasurementFailedError, launch
from tests.benchmarks.progress import say
from tests.benchmarks.variants import Variant, plain

_POINTS = 20
_WIDTH = 50
Growth = dict[Variant, dict[str, Any]]


def measure(
    framework: str,
    environments: Environments,
    packages: set[str],
    *,
    messages: int,
    task_names: int = 1,
) -> Growth:
    """Memory and cost along `messages` messages, round-robin over `task_names` tasks."""
    variants = [plain(framework)]
    variants += [Variant(framework, name, "metrics") for name in ("floor", "ours")]
    found: Growth = {}
    for variant in available([v for v in variants if v.package in packages], environments):
        say(f"growth {variant}: {messages} messages, {task_names} task names")
        step = max(1000, messages // _POINTS // 1000 * 1000)
        options = {"messages": messages, "step": step, "task_names": task_names}
        try:
            python = environments.python(variant.environment)
            found[variant] = launch(python, "growth", variant, **options)
        except MeasurementFailedError as error:
            say(f"failed: {variant}: {error}")
    return found


def growth_table(found: Growth, title: str) -> str:
    """Cost and memory at the ends of each run; of cost, the median of the first and last tenth."""
    rows = [_row(variant, result) for variant, result in found.items()]
    header = [
        "",
        "first us",
        "last us",
        "last/first",
        "MiB first",
        "MiB half",
        "MiB last",
        "series",
    ]
    return f"{title}\n\n{table(header, rows)}"


def _row(variant: Variant, result: dict[str, Any]) -> list[str]:
    series = result["series"]
    edge = max(1, len(series) // 10)
    first = median(point["us"] for point in series[:edge])
    last = median(point["us"] for point in series[-edge:])
    mib = [series[index]["private_kib"] / 1024 for index in (0, len(series) // 2, -1)]
    cells = [f"{first:.0f}", f"{last:.0f}", f"{last / first:.2f}", *(f"{size:.2f}" for size in mib)]
    return [str(variant), *cells, str(result["points"])]


def plot(result: dict[str, Any]) -> str:
    """Private memory over messages, a line per point."""
    series = result["series"]
    most = max(point["private_kib"] for point in series)
    return "\n".join(
        f"{point['messages']:>9,}  {point['private_kib'] / 1024:7.2f} MiB  {point['us']:6.0f} us  "
        + "#" * round(point["private_kib"] / most * _WIDTH)
        for point in series
    )
