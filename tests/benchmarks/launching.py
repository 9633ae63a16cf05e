"""Starts measured processes, plainly or under callgrind, and reads what they found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import ROOT
from tests.benchmarks.measured import callgrind
from tests.benchmarks.variants import Variant

_MODULE = ("-m", "tests.benchmarks.measured.main")
_TIMEOUT_S = 3 * 3600
_TRIGGER = "desc: Trigger: Client Request: "


class MeasurementFailedError(Exception):
    """The measured process ended with an error; carries the end of what it said."""


def can_count_instructions() -> bool:
    """Whether valgrind is here, on a machine whose requests we can send."""
    return shutil.which("valgrind") is not None and callgrind.is_supported()


def launch(python: Path, job: str, variant: Variant, **options: Any) -> dict[str, Any]:
    """Run one job in a new process and return its result."""
    output = _run([str(python), *_MODULE, _encode(job, variant, options)])
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def count_instructions(
    python: Path, variant: Variant, job: str = "instructions", **options: Any
) -> dict[str, float]:
    """Instructions of each stretch of the job, by label."""
    with tempfile.TemporaryDirectory() as scratch:
        _run(
            [
                "valgrind",
                "-q",
                "--tool=callgrind",
                "--instr-atstart=no",
                f"--callgrind-out-file={scratch}/out",
                str(python),
                *_MODULE,
                _encode(job, variant, options),
            ]
        )
        return _read_counts(Path(scratch))


def _encode(job: str, variant: Variant, options: dict[str, Any]) -> str:
    return json.dumps({"job": job, **variant._asdict(), **options})


def measured_environ() -> dict[str, str]:
    """The environment of a measured process: ours without any telemetry settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "DD_", "SENTRY_"))}
    return kept | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=measured_environ(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0 or not done.stdout.strip():
        raise MeasurementFailedError(done.stderr[-2000:])
    return done.stdout


def _read_counts(folder: Path) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for path in sorted(folder.iterdir(), key=lambda path: int(path.suffix[1:] or 0)):
        label = ""
        for line in path.read_text().splitlines():
            if line.startswith(_TRIGGER):
                label = line.removeprefix(_TRIGGER)
            elif line.startswith("totals:") and label:
                counts[label] += int(line.split()[1])
    return dict(counts)
