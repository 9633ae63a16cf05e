"""A later SDK or API without the private names of today costs speed, and nothing else."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import otel_queue_plugins
from tests.environment import clean_environment
from tests.private_names import CHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Processes

ROOT = Path(otel_queue_plugins.__file__).parent
RELAYING = ("opening", "processors", "providing", "sending")
# Imported inside guarded calls only: by `gate.attempt`, the set-up of one signal, `open_relay`.
LATE = {
    *(ROOT / "sdk" / "relay" / f"{name}.py" for name in RELAYING),
    *(ROOT / "sdk" / "fastpath").rglob("*.py"),
    ROOT / "sdk" / "logs" / "bridge.py",
    ROOT / "sdk" / "logs" / "log_exporter.py",
} - {
    ROOT / "sdk" / "fastpath" / "__init__.py",
    ROOT / "sdk" / "fastpath" / "gate.py",
    ROOT / "sdk" / "fastpath" / "encoding" / "__init__.py",
    ROOT / "sdk" / "fastpath" / "encoding" / "attaching.py",
}
TOLD = "['process add', 'send add'] traces 1 sent [1]"


@pytest.fixture(scope="module", params=["", "on", "off"], ids=lambda said: said or "unset")
def outcomes(request: pytest.FixtureRequest, module_processes: Processes) -> dict[str, list[str]]:
    """What came of each change, in all positions of the switch."""
    program = module_processes.start(
        "private names",
        [sys.executable, "-W", "ignore", "-m", "tests.private_names"],
        env=clean_environment(OTEL_QUEUE_FASTPATH=request.param),
    )
    assert program.wait(600) == 0
    found: dict[str, list[str]] = {}
    for line in program.log.splitlines():
        name, _, outcome = line.partition(" | ")
        found.setdefault(name, []).append(outcome)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_both_adapters_are_imported_and_work(outcomes: dict[str, list[str]], change: str) -> None:
    """Every span, one trace, every count; and what the environment asks for is set up."""
    *used, recorded = outcomes[change]
    assert used == [f"use_celery | {TOLD}", f"use_dramatiq | {TOLD}"]
    if not change.endswith("PROVIDER_SET_ONCE"):  # without it the API itself can set no provider
        assert recorded == "record | True ['/v1/metrics', '/v1/traces']"


def test_what_is_private_is_not_imported_with_the_adapters(processes: Processes) -> None:
    """Nor with what sets up the SDK."""
    names = [str(path.relative_to(ROOT.parent).with_suffix("")).replace("/", ".") for path in LATE]
    code = (
        "import sys, otel_queue_plugins.celery, otel_queue_plugins.dramatiq.middleware\n"
        "import otel_queue_plugins.sdk.providers.factory\n"
        f"print(sorted(set({names}) & set(sys.modules)))"
    )
    program = processes.start("program", [sys.executable, "-c", code], env=clean_environment())
    assert program.wait() == 0
    assert program.log == "[]\n"


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(ROOT.rglob("*.py")) if path not in LATE],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_private_name_is_imported_at_import_time(path: Path) -> None:
    """Of OpenTelemetry's, which may rename them any day."""
    found = [
        name
        for name in imported_at_import_time(ast.parse(path.read_text()))
        if name.startswith("opentelemetry.")
        and (any(part.startswith("_") for part in name.split(".")) or "BoundedAttributes" in name)
    ]
    assert found == []


def imported_at_import_time(tree: ast.Module) -> Iterator[str]:
    """The full names of all that the body of a module imports, outside of functions."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting.extend(
                each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)
            )
