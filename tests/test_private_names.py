"""An SDK or API without the private names of today's versions costs speed, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
from importlib.util import find_spec
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
EXPORTED = "['process add', 'send add'] traces 1 sent [1]"


@pytest.fixture(scope="module", params=["", "on", "off"], ids=lambda switch: switch or "unset")
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
def test_adapters_without_a_private_name_record_everything(
    outcomes: dict[str, list[str]], change: str
) -> None:
    """Every span, one trace, every count; and what the environment asks for is set up."""
    *used, recorded = outcomes[change]
    assert used == [f"use_celery | {EXPORTED}", f"use_dramatiq | {EXPORTED}"]
    if not change.endswith("PROVIDER_SET_ONCE"):  # without it the API itself can set no provider
        assert recorded == "record | True ['/v1/metrics', '/v1/traces']"


def test_import_of_adapters_loads_no_module_with_private_names(processes: Processes) -> None:
    """Nor does the import of what sets up the SDK."""
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
def test_module_imports_no_private_name_at_import_time(path: Path) -> None:
    """OpenTelemetry may rename its private names in any release."""
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


MAY_USE_PRIVATE_NAMES = (
    ROOT / "sdk" / "fastpath",
    ROOT / "sdk" / "process" / "fork_repair.py",
    ROOT / "sdk" / "process" / "fork_grpc.py",
)
# OpenTelemetry's own documentation imports logs from modules of these names.
PUBLISHED = {"_logs", "_log_exporter", "_log_encoder"}
EXCEPTIONS = {
    # The API's key for suppressed instrumentation; no public function of it leaves it to itself.
    "core/api/suppression.py": {"_SUPPRESS_INSTRUMENTATION_KEY"},
    "sdk/logs/bridge.py": {"_SUPPRESS_INSTRUMENTATION_KEY"},
    # The propagators inside the API's composite one.
    "core/carrier/traceparent.py": {"_propagators"},
    # A value of the conventions, and no name.
    "core/route_templates.py": {"_OTHER"},
    # The API's proxies: nothing else tells that an application uses it before it sets a provider.
    "sdk/patches.py": {
        *("_internal", "_ProxyCounter", "_ProxyGauge", "_ProxyHistogram", "_ProxyMeter"),
        *("_ProxyUpDownCounter", "_logger", "_tracer"),
    },
    # The length of the queue, without which spans that the SDK drops could not be counted.
    "sdk/export/exporters.py": {"_batch_processor", "_queue"},
    # The exporters of an application's own readers: queue states go where its metrics go.
    "sdk/providers/service_metrics.py": {"_export_lock", "_exporter", "_metric_readers"},
    # Names of loggers.
    "sdk/diagnosis/export_failures.py": {"_internal", "_shared_internal"},
    "sdk/relay/instruments.py": {"_check_name_unit_description", "_Gauge"},
    "sdk/relay/lanes.py": {"_SUPPRESS_INSTRUMENTATION_KEY"},
    "sdk/relay/opening.py": {
        *("_active_span_processor", "_multi_log_record_processor", "_update_resource"),
    },
    "sdk/relay/providing.py": {"_log_record_processors", "_span_processors"},
}
OTELS_OWN = [
    path
    for package in ("opentelemetry.trace", "opentelemetry.sdk", "opentelemetry.exporter.otlp")
    for root in getattr(find_spec(package), "submodule_search_locations", ())
    for path in Path(root).parent.rglob("*.py")
]


def test_private_names_of_the_sdk_are_used_in_the_fast_path_and_the_fork_repair_alone() -> None:
    """Everything else is an exception with a reason, by file and name; none of them is stale."""
    private = {
        name for path in OTELS_OWN for name in re.findall(r"\b_[A-Za-z]\w+", path.read_text())
    }
    used = {
        str(path.relative_to(ROOT)): found
        for path in sorted((ROOT / "core").rglob("*.py")) + sorted((ROOT / "sdk").rglob("*.py"))
        if not any(path.is_relative_to(each) for each in MAY_USE_PRIVATE_NAMES)
        and (found := private_names_of_others(path) & private - PUBLISHED)
    }
    assert used == EXCEPTIONS


@pytest.mark.parametrize("framework", ["celery", "dramatiq", "cli"])
def test_adapters_and_the_command_use_no_private_name_of_opentelemetry(framework: str) -> None:
    """They import none, and say none as part of a dotted name."""
    for path in (ROOT / framework).rglob("*.py"):
        for name in (*imported(path), *strings(path)):
            if name.startswith("opentelemetry."):
                assert not {part for part in name.split(".") if part.startswith("_")} - PUBLISHED


def private_names_of_others(path: Path) -> set[str]:
    """Attributes of objects other than `self`, imported names, and texts that are names."""
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in {"self", "cls"}
    } - {"_replace"}  # of named tuples
    dotted = [
        *imported(path),
        *(text for text in strings(path) if re.fullmatch(r"opentelemetry[.:\w]+|_\w+", text)),
    ]
    parts = {part for name in dotted for part in re.split("[.:]", name)}
    return {name for name in attributes | parts if re.match(r"_[A-Za-z]", name)}


def imported(path: Path) -> list[str]:
    """The full names of all that is imported from OpenTelemetry, in functions too."""
    return [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("opentelemetry")
        for alias in node.names
    ]


def strings(path: Path) -> list[str]:
    """All texts in a module, but those of `__slots__` and parts of f-strings."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(each)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Assign) and "__slots__" in ast.unparse(node.targets[0]))
        for each in ast.walk(node)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in skipped
    ]


def test_the_readme_of_the_fast_path_names_its_files() -> None:
    """All of them, and no other; it is shipped with the package."""
    room = ROOT / "sdk" / "fastpath"
    text = (room / "README.md").read_text()
    rows = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))
    files = {path.name for path in room.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`([\w/.]+)`", rows)) == files | {"encoding/"}
