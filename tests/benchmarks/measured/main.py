"""A measured process: one JSON job on the command line, one JSON result as the last line."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.benchmarks.measured.jobs import JOBS


def main() -> None:
    """Do the job of the command line."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    result = JOBS[job.pop("job")](**job)
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
