"""The numbered commands of an example's README, adapted to a test and no more than that."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.brokers.harness import Lab

EXAMPLES = Path(__file__).parents[2] / "example_projects"
_STEP = re.compile(r"^\d+\. .*?(?=^\d+\. |^\S|\Z)", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"^ +```sh\n(.*?)^ +```", re.DOTALL | re.MULTILINE)
_PROGRAMS = f"{Path(sys.executable).parent}/"


@dataclass(slots=True, kw_only=True)
class Readme:
    """A copy of an example, in which its processes may write, and the steps of its README.

    `ports` are those of the README with those of the test; all other text of a command stays.
    """

    directory: Path
    ports: Mapping[int, int]
    _steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        text = (self.directory / "README.md").read_text()
        numbered = _STEP.findall(text)
        assert [each.split(".")[0] for each in numbered] == [
            str(number) for number in range(1, len(numbered) + 1)
        ]
        self._steps = ["".join(_BLOCK.findall(each)) for each in numbered]
        assert all(self._steps), numbered

    def step(self, says: str) -> str:
        """The one command with these words in it, as a script of a shell."""
        (found,) = [each for each in self._steps if says in each]
        script = "\n".join(line.strip() for line in found.splitlines())
        script = script.replace(".venv/bin/", _PROGRAMS)
        for port, other in self.ports.items():
            script = re.sub(rf"(?:localhost|127\.0\.0\.1):{port}\b", f"127.0.0.1:{other}", script)
            script = script.replace(f"--port {port}", f"--port {other}")
        return script

    def output(self, says: str, env: Mapping[str, str] | None = None) -> str:
        """Run a step that ends by itself; what it writes to stdout."""
        script = self.step(says)
        program = script.split()[0]
        if program == "curl" and not shutil.which(program):
            pytest.skip("curl is not installed")
        return subprocess.run(
            ["sh", "-c", script],
            cwd=self.directory,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
            check=True,
        ).stdout


def copied(name: str, directory: Path, ports: Mapping[int, int]) -> Readme:
    """Copy the example `name` below `directory`."""
    ignored = shutil.ignore_patterns(".venv", "__pycache__", "*.sqlite3", "celerybeat-schedule*")
    copy = shutil.copytree(EXAMPLES / name, directory / name, ignore=ignored)
    return Readme(directory=copy, ports=ports)


def installed(lab: Lab, name: str, directory: Path, needed: Sequence[str]) -> Readme:
    """A copy of an example that sends to the lab, and whose web front is at a free port.

    The test is skipped where a module that the example needs is not installed.
    """
    for module in needed:
        pytest.importorskip(module)
    ports = {4318: urlsplit(lab.receiver.endpoint).port or 0, 8000: free_port()}
    return copied(name, directory, ports)


def environment(lab: Lab) -> dict[str, str]:
    """The environment of the steps, with the broker of the lab; they say what is sent where."""
    return lab.env("", lab.module("")) | {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}


def start(lab: Lab, example: Readme, ready: Mapping[str, str]) -> None:
    """Start the steps that keep a terminal, at once, and wait for their words in the log."""
    env = environment(lab)
    running = {
        says: lab.processes.start(
            says, ["sh", "-c", example.step(says)], env=env, cwd=example.directory
        )
        for says in ready
    }
    for says, words in ready.items():
        running[says].wait_for_log(words)
