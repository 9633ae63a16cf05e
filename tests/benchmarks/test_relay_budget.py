"""What a task costs the process that exports for others stays small."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.benchmarks.launching import can_count_instructions, count_instructions
from tests.benchmarks.variants import Variant

_MESSAGES = 1000
# Thousand instructions a task. They are user space only: what a read from the pipe costs the
# kernel is shared by all tasks of 30 ms.
_MOST = {"deliver": 400, "take": 25, "settle": 12}

pytestmark = pytest.mark.skipif(
    not can_count_instructions() and "CI" not in os.environ,
    reason="needs valgrind on x86-64 Linux",
)


def test_taking_what_others_hand_over_stays_within_budget() -> None:
    """The main process feeds all others: a span and three measurements cost it microseconds."""
    variant = Variant("celery", "ours", "metrics")
    counts = count_instructions(Path(sys.executable), variant, "relaying", messages=_MESSAGES)
    found = {label: counts[label] / _MESSAGES / 1000 for label in _MOST}
    assert all(found[label] <= most for label, most in _MOST.items()), found
