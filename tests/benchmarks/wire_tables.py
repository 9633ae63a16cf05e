"""The tables of a wire run."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from tests.benchmarks.figures import figure, table
from tests.benchmarks.variants import WIRE_TARGETS, Target, Variant
from tests.benchmarks.wire import Run, Runs


def speed_table(found: Runs, again: list[Run]) -> str:
    """Tasks a second and CPU time a task; the second plain run of each round says how far to go."""
    (base, plain), *_ = found.items()
    rows = [_speed(str(variant), runs, plain) for variant, runs in found.items()]
    rows.append(_speed("plain once more", again, plain))
    header = ["", "tasks/s (quartiles)", "of plain (quartiles)", "main us", "of plain", "added us"]
    title = f"{base.framework} over Redis, 4 processes, tasks of 1 ms, export to a collector"
    return f"{title}; CPU time a task\n\n{table(header, rows)}"


def _speed(name: str, runs: list[Run], plain: list[Run]) -> list[str]:
    pairs = [(run.rate, alone.rate) for run, alone in zip(runs, plain, strict=False)]
    share = figure([rate.per_second / alone.per_second for rate, alone in pairs])
    # Dramatiq's main process does next to nothing.
    has_main = all(alone.main_us for _, alone in pairs)
    main = figure([rate.main_us / alone.main_us for rate, alone in pairs]) if has_main else None
    return [
        name,
        str(figure([rate.per_second for rate, _ in pairs])),
        f"{share.middle:.3f} ({share.low:.3f}..{share.high:.3f})",
        f"{median(rate.main_us for rate, _ in pairs):.0f}",
        f"{main.middle:.3f} ({main.low:.3f}..{main.high:.3f})" if main else "-",
        str(figure(added_us(runs, plain))),
    ]


def added_us(runs: list[Run], plain: list[Run]) -> list[float]:
    """CPU microseconds a task over the plain worker of the same round, all processes."""
    return [_cpu(run) - _cpu(alone) for run, alone in zip(runs, plain, strict=False)]


def _cpu(run: Run) -> float:
    return run.rate.main_us + run.rate.children_us


def memory_table(found: Runs) -> str:
    """Memory and threads after the work, over those of the plain worker."""
    (_, plain), *_ = found.items()
    rows = [
        [
            str(variant),
            *(_over(plain, runs, part) for part in ("main", "child", "total")),
            f"{_of_memory(runs, 'threads'):.0f}",
        ]
        for variant, runs in found.items()
    ]
    header = ["PSS in MiB (over plain)", "main", "a child", "worker", "threads of a child"]
    return table(header, rows)


def _over(plain: list[Run], runs: list[Run], part: str) -> str:
    size = _of_memory(runs, part)
    return f"{size:.1f} ({size - _of_memory(plain, part):+.1f})"


def _of_memory(runs: list[Run], part: str) -> float:
    return median(getattr(run.memory, part) for run in runs if run.memory)


def collector_table(found: Runs) -> str:
    """What arrives, of the last round."""
    parts = ("requests", "connections", "spans", "resources", "series")
    rows = [
        [str(variant), *(str(runs[-1].counted.get(part, "-")) for part in parts)]
        for variant, runs in found.items()
    ]
    return table(["the collector got", *parts], rows)


def short_lives_table(found: Runs, messages: int) -> str:
    """A process for each task: how long the tasks took, and what the collector got."""
    (_, plain), *_ = found.items()

    def share(runs: list[Run], part: Callable[[Run], float]) -> str:
        ratio = figure([part(run) / part(alone) for run, alone in zip(runs, plain, strict=False)])
        return f"{ratio.middle:.2f} ({ratio.low:.2f}..{ratio.high:.2f})"

    def seconds(run: Run) -> float:
        return messages / run.rate.per_second

    rows = [
        [
            str(variant),
            f"{median(map(seconds, runs)):.1f}",
            share(runs, seconds),
            share(runs, _cpu),
        ]
        for variant, runs in found.items()
    ]
    title = f"{messages} tasks, a process for each"
    times = table(["", "seconds", "of plain", "CPU of plain"], rows)
    return f"{title}\n\n{times}\n\n{collector_table(found)}"


def target_table(found: Runs) -> str:
    """What ours adds in CPU time, as a ratio of what the other adds in the same round."""
    rows = [row for target in WIRE_TARGETS for row in _target_rows(target, found)]
    return "added CPU time, as a ratio of the other\n\n" + table(["", "at most", "found", ""], rows)


def _target_rows(target: Target, found: dict[Variant, Any]) -> list[list[str]]:
    plain = found.get(Variant(target.framework, "plain", target.mode))
    other = found.get(Variant(target.framework, target.other, target.other_mode))
    if not plain or not other:
        return []
    rows = []
    for package in ("ours", "ours+relay"):
        runs = found.get(Variant(target.framework, package, target.mode))
        if runs:
            ratio = median(added_us(runs, plain)) / median(added_us(other, plain))
            label = f"{target.framework} {package} / {target.other}"
            over = "" if ratio <= target.limit else "OVER"
            rows.append([label, f"{target.limit:.2f}", f"{ratio:.2f}", over])
    return rows
