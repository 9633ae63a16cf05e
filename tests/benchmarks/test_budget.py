"""The hot path does not grow: instructions added to a message, held to `budget.json`."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.benchmarks.launching import can_count_instructions, count_instructions
from tests.benchmarks.variants import Variant

_BUDGET: dict[str, dict[str, float]] = json.loads(
    Path(__file__).with_name("budget.json").read_text()
)
_MESSAGES = 100

pytestmark = pytest.mark.skipif(
    not can_count_instructions() and "CI" not in os.environ,
    reason="needs valgrind on x86-64 Linux",
)


@pytest.fixture(scope="module")
def instructions() -> dict[Variant, float]:
    """Thousand instructions a message, by variant: all that the budget compares."""
    variants = {
        Variant(framework, package, mode if package != "plain" else "nosdk")
        for framework, budget in _BUDGET.items()
        for mode in budget
        for package in ("plain", "floor", "ours")
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(variants, pool.map(_count, variants), strict=True))


def _count(variant: Variant) -> float:
    python = Path(sys.executable)
    counts = count_instructions(python, variant, messages=_MESSAGES, warm=_MESSAGES)
    return sum(counts.values()) / _MESSAGES / 1000


@pytest.mark.parametrize(
    ("framework", "mode"), [(name, mode) for name, modes in _BUDGET.items() for mode in modes]
)
def test_what_we_add_stays_within_budget(
    instructions: dict[Variant, float], framework: str, mode: str
) -> None:
    """What we add to a message is at most so many times what the bare SDK adds for its spans.

    A ratio, because the absolute number differs between versions of Python and of the SDK. A budget
    is raised only together with the feature that is worth it.
    """
    plain = instructions[Variant(framework, "plain", "nosdk")]
    ours = instructions[Variant(framework, "ours", mode)] - plain
    floor = instructions[Variant(framework, "floor", mode)] - plain

    assert ours / floor <= _BUDGET[framework][mode], (
        f"{framework}, {mode}: {ours:.0f} thousand instructions a message, the bare SDK {floor:.0f}"
    )
