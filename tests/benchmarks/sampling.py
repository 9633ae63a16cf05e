"""What a message costs whose trace is not sampled, by sampler.

`python -m tests.benchmarks.sampling` prints it in thousand instructions, over the plain framework,
as in the tables of `COST.md`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.launching import count_instructions
from tests.benchmarks.variants import Variant, plain

_MESSAGES = 200
_ROWS = {
    "everything is sampled": "metrics",
    "1 % by parentbased_traceidratio": "ratio+metrics",
    "nothing, by taskqueue": "taskqueue+metrics",
    "nothing, by taskqueue with keep=errors": "keep+metrics",
}


def main() -> None:
    """Count and print."""
    row = "{:<9} {:<39} {:>7} {:>10} {:>8}\n"
    sys.stdout.write(row.format("", "", "send ki", "execute ki", "total ki"))
    for framework in ("celery", "dramatiq"):
        alone = _count(plain(framework))
        for label, mode in _ROWS.items():
            found = _count(Variant(framework, "ours", mode))
            added = {part: number - alone.get(part, 0) for part, number in found.items()}
            cells = (f"{number:.0f}" for number in (added["send"], added["execute"]))
            sys.stdout.write(row.format(framework, label, *cells, f"{sum(added.values()):.0f}"))


def _count(variant: Variant) -> dict[str, float]:
    python = Path(sys.executable)
    found = count_instructions(python, variant, messages=_MESSAGES, warm=_MESSAGES)
    return {part: count / _MESSAGES / 1000 for part, count in found.items()}


if __name__ == "__main__":
    main()
