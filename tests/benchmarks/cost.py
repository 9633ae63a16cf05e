"""CPU time and instructions added to a message, and the targets they are held to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

from tests.benchmarks.environments import EnvironmentMissingError, Environments
from tests.benchmarks.figures import PARTS, added, table
from tests.benchmarks.launching import MeasurementFailedError, count_instructions, launch
from tests.benchmarks.progress import say
from tests.benchmarks.variants import TARGETS, Target, Variant, plain

Readings = dict[Variant, list[dict[str, float]]]
Costs = dict[Variant, dict[str, Any]]

_MESSAGES = 250
_COUNTED_MESSAGES = 200


def available(variants: Iterable[Variant], environments: Environments) -> list[Variant]:
    """The variants whose environment exists or could be made; the others are named on stderr."""
    return [variant for variant in variants if _is_available(variant, environments)]


def _is_available(variant: Variant, environments: Environments) -> bool:
    try:
        environments.python(variant.environment)
    except EnvironmentMissingError as error:
        say(f"left out: {variant}: {error}")
        return False
    return True


def measure_cpu(
    variants: list[Variant], environments: Environments, *, rounds: int, blocks: int
) -> Readings:
    """Every variant once per round, in turn, so that what disturbs one disturbs all."""
    readings: Readings = {variant: [] for variant in variants}
    for number, variant in product(range(rounds), variants):
        say(f"cpu {number + 1}/{rounds} {variant}")
        _append(readings[variant], variant, environments, blocks)
    return readings


def _append(
    into: list[dict[str, float]], variant: Variant, environments: Environments, blocks: int
) -> None:
    python = environments.python(variant.environment)
    options = {"messages": _MESSAGES, "blocks": blocks, "warm": _MESSAGES}
    try:
        into.append(launch(python, "cpu", variant, **options))
    except MeasurementFailedError as error:
        say(f"failed: {variant}: {error}")


def measure_instructions(variants: list[Variant], environments: Environments) -> Readings:
    """Instructions do not care what else runs: as many at a time as there are processors."""

    def count(variant: Variant) -> list[dict[str, float]]:
        say(f"instructions {variant}")
        python = environments.python(variant.environment)
        try:
            counts = count_instructions(
                python, variant, messages=_COUNTED_MESSAGES, warm=_COUNTED_MESSAGES
            )
        except MeasurementFailedError as error:
            say(f"failed: {variant}: {error}")
            return []
        per_message = {label: n / _COUNTED_MESSAGES / 1000 for label, n in counts.items()}
        return [per_message | {"total": sum(per_message.values())}]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(variants, pool.map(count, variants), strict=True))


def measure_parts(environments: Environments) -> dict[str, float]:
    """Thousand instructions of single operations, of the SDK and of ours."""
    variant = Variant("celery", "core", "metrics")
    python = environments.python(variant.environment)
    counts = count_instructions(python, variant, "parts", messages=_COUNTED_MESSAGES)
    empty = counts.pop("nothing")
    return {label: (n - empty) / _COUNTED_MESSAGES / 1000 for label, n in counts.items()}


def parts_table(found: dict[str, float]) -> str:
    """A row per operation."""
    rows = [[label, f"{thousands:.0f}"] for label, thousands in found.items()]
    title = "single operations, in thousand instructions"
    return f"{title}\n\n{table(['', 'ki'], rows)}"


def measure_encoding(framework: str, environments: Environments) -> dict[str, float]:
    """Thousand instructions to encode a message's spans as OTLP, by the way of doing it."""
    variant = Variant(framework, "ours", "on")
    python = environments.python(variant.environment)
    counts = count_instructions(python, variant, "encoding", messages=_COUNTED_MESSAGES)
    return {label: n / _COUNTED_MESSAGES / 1000 for label, n in counts.items()}


def encoding_table(found: dict[str, dict[str, float]]) -> str:
    """A row per framework and way, beside the official encoder."""
    rows = [
        [f"{framework}, {label}", f"{thousands:.0f}", f"{thousands / ways['official']:.2f}"]
        for framework, ways in found.items()
        for label, thousands in ways.items()
    ]
    title = "the spans of a message as OTLP, in thousand instructions"
    return f"{title}\n\n{table(['', 'ki', 'of the official'], rows)}"


def measure_relay(environments: Environments) -> dict[str, float]:
    """Thousand instructions a task of a worker with one exporter, by the side of the hand-over."""
    variant = Variant("celery", "ours", "metrics")
    python = environments.python(variant.environment)
    messages = 5 * _COUNTED_MESSAGES
    counts = count_instructions(python, variant, "relaying", messages=messages)
    return {label: n / messages / 1000 for label, n in counts.items()}


def relay_table(found: dict[str, float]) -> str:
    """A row per side."""
    sides = {
        "deliver": "pool process: a delivery, its span encoded and handed over",
        "take": "main process: take a message out of the pipe, queue its span",
        "settle": "main process: count, and record what was measured",
    }
    rows = [[sides[label], f"{thousands:.0f}"] for label, thousands in found.items()]
    title = "one exporter for a worker, in thousand instructions a task"
    return f"{title}\n\n{table(['', 'ki'], rows)}"


def costs(cpu: Readings, instructions: Readings) -> Costs:
    """Per variant what it adds: `us` and `kinstr`, each with send, execute and total."""
    result: Costs = {}
    for variant in [*cpu, *(v for v in instructions if v not in cpu)]:
        if variant.package == "plain":
            continue
        result[variant] = {
            name: added(zip(readings[variant], readings[plain(variant.framework)], strict=False))
            for name, readings in (("us", cpu), ("kinstr", instructions))
            if readings.get(variant) and readings.get(plain(variant.framework))
        }
        if cpu.get(variant):
            result[variant]["spans"] = cpu[variant][0]["spans"]
            result[variant]["points"] = cpu[variant][0]["points"]
    return result


def cost_table(framework: str, found: Costs, cpu: Readings) -> str:
    """What `framework` costs with each package, over the framework alone."""
    base = cpu.get(plain(framework), [])
    rows = [
        [f"{variant.package}, {variant.mode}", *_cells(cost)]
        for variant, cost in found.items()
        if variant.framework == framework
    ]
    title = f"{framework}: added to a message, over the plain framework"
    if base:
        parts = ", ".join(f"{part} {min(reading[part] for reading in base):.0f}" for part in PARTS)
        title += f" (itself {parts} us)"
    header = ["", "send us", "execute us", "total us (quartiles)", "spans"]
    header += ["send ki", "execute ki", "total ki"]
    return f"{title}\n\n{table(header, rows)}"


def _cells(cost: dict[str, Any]) -> list[str]:
    us, kinstr = cost.get("us"), cost.get("kinstr")
    cells = (
        [f"{us.send.middle:.0f}", f"{us.execute.middle:.0f}", str(us.total)] if us else ["-"] * 3
    )
    cells.append(f"{cost['spans']:.2f}" if "spans" in cost else "-")
    cells += [f"{getattr(kinstr, part).middle:.0f}" if kinstr else "-" for part in PARTS]
    return cells


def target_table(found: Costs) -> str:
    """Ours against each target, on CPU time and on instructions."""
    rows = [_target_row(target, found) for target in TARGETS]
    header = ["target", "at most", "us", "instructions", ""]
    return "ours, as a ratio of the other\n\n" + table(header, [row for row in rows if row])


def _target_row(target: Target, found: Costs) -> list[str]:
    ours = found.get(Variant(target.framework, "ours", target.mode))
    other = found.get(Variant(target.framework, target.other, target.other_mode))
    if not ours or not other:
        return []
    ratios = [
        ours[unit].total.middle / other[unit].total.middle
        if unit in ours and unit in other
        else None
        for unit in ("us", "kinstr")
    ]
    label = f"{target.framework} {target.mode} / {target.other} {target.other_mode}"
    met = all(ratio <= target.limit for ratio in ratios if ratio is not None)
    cells = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    return [label, f"{target.limit:.2f}", *cells, "" if met else "OVER"]
