"""Bytes added to a message and memory added to a process."""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.benchmarks.cost import available
from tests.benchmarks.environments import Environments
from tests.benchmarks.figures import table
from tests.benchmarks.launching import MeasurementFailedError, launch
from tests.benchmarks.progress import say
from tests.benchmarks.variants import Variant, all_variants, plain

Footprint = dict[Variant, dict[str, float]]

_MODES = ("nosdk", "on", "metrics")
_MESSAGES = 2000


def measure(
    framework: str, environments: Environments, packages: set[str], rounds: int
) -> Footprint:
    """Wire bytes over the plain framework, and KiB over the same process with the SDK alone."""
    variants = [v for v in all_variants(framework, _MODES) if v.package in packages]
    found: Footprint = {}
    bare = _wire(plain(framework), environments)
    for variant in available(variants, environments):
        say(f"footprint {variant}")
        try:
            found[variant] = {
                "bytes": _wire(variant, environments) - bare,
                "kib": _memory_added(variant, environments, rounds),
            }
        except MeasurementFailedError as error:
            say(f"failed: {variant}: {error}")
    return found


def _wire(variant: Variant, environments: Environments) -> int:
    result = launch(environments.python(variant.environment), "wire", variant)
    size: int = result["bytes"]
    return size


def _memory_added(variant: Variant, environments: Environments, rounds: int) -> float:
    """The same interpreter with and without the package, in turn; both with the mode's SDK."""
    python = environments.python(variant.environment)
    has_sdk = variant.package not in ("plain", "ddtrace", "sentry", "prometheus")
    alone = Variant(variant.framework, "plain", variant.mode if has_sdk else "nosdk")
    differences = [
        _private_kib(python, variant) - _private_kib(python, alone) for _ in range(rounds)
    ]
    return median(differences)


def _private_kib(python: Any, variant: Variant) -> int:
    size: int = launch(python, "memory", variant, messages=_MESSAGES)["private_kib"]
    return size


def footprint_table(found: Footprint) -> str:
    """A row per variant."""
    rows = [
        [str(variant), f"{sizes['bytes']:.0f}", f"{sizes['kib'] / 1024:.2f}"]
        for variant, sizes in found.items()
        if variant.package != "plain"
    ]
    title = "bytes added to a message; private memory added to a process with the same SDK set up"
    return f"{title}\n\n{table(['', 'bytes', 'MiB'], rows)}"
