"""Encoding a span stays at a fraction of what the official encoder needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.benchmarks.launching import can_count_instructions, count_instructions
from tests.benchmarks.variants import Variant

_MESSAGES = 100
# Of the official encoder's instructions for the same spans.
_MOST = {"ours": 0.18, "ours, over gRPC": 0.23, "ours, one at a time": 0.25}

pytestmark = pytest.mark.skipif(
    not can_count_instructions() and "CI" not in os.environ,
    reason="needs valgrind on x86-64 Linux",
)


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_encoding_stays_within_budget(framework: str) -> None:
    """A quarter of the official encoder's instructions is what exporters of ours may take.

    One at a time is beside the official encoder's batch, too: so it leaves a process that
    hands each span over as it ends.
    """
    variant = Variant(framework, "ours", "on")
    counts = count_instructions(Path(sys.executable), variant, "encoding", messages=_MESSAGES)
    found = {label: counts[label] / counts["official"] for label in _MOST}
    assert all(found[label] <= most for label, most in _MOST.items()), found
