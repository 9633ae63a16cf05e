"""The import graph: what each part may import, and what an import of this package must not load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import otel_queue_plugins

ROOT = Path(otel_queue_plugins.__file__).parent
OURS = "otel_queue_plugins"
ADAPTERS = ("celery", "dramatiq")
MAY_USE = {
    "core": {"core", "version"},
    "sdk": {"sdk", "core", "version"},
    "celery": {"celery", "core", "sdk", "reporting", "worker_http", "version"},
    "dramatiq": {"dramatiq", "core", "sdk", "reporting", "worker_http", "version"},
    "worker_http": {"worker_http", "core", "sdk", "version"},
    "brokers": {"brokers", "core", "version"},
    "reporting": {"reporting", "core", "sdk", "brokers", "version"},
    "trace_links": {"trace_links", "core", "sdk", "brokers", "version"},
    "sampling": {"sampling", "sdk", "core", "version"},
    "cli": {"cli", "core", "sdk", "brokers", "reporting", "trace_links", "version"},
    "any_queue": {"any_queue", "core", "sdk", "version"},
    "version": set(),
    "__init__": {"version", "sdk", "trace_links", "any_queue"},
}
# Each room uses those before it. A fork, an end and a first use of providers need each other: the
# last three of the SDK part are one step.
ROOMS = {
    "core": ({"settings"}, {"policy"}, {"api"}, {"carrier"}, {"metrics"}, {"spans"}, {"verbs"}),
    "sdk": (
        *({"sampling"}, {"config"}, {"diagnosis"}, {"fastpath"}, {"export"}, {"logs"}),
        {"relay", "process", "providers"},
    ),
}
DEMO_APPS = ROOT / "cli" / "demo" / "shop"
# What an adapter has put in place, only that adapter knows.
CHECKS_OF_ADAPTERS = {
    ROOT / "cli" / "doctor" / "checks" / "celery_app.py": {"celery"},
    ROOT / "cli" / "doctor" / "checks" / "dramatiq_broker.py": {"dramatiq"},
}


def modules_of(path: Path, source: str) -> set[str]:
    """The absolute names of all modules that `source` imports, anywhere in it."""
    package = [OURS, *path.relative_to(ROOT).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def room_of(part: str, name: str) -> str | None:
    """The room in `part` that a module or a file is in; None for one that all rooms may use."""
    return name if (ROOT / part / name).is_dir() else None


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_only_parts_below(path: Path) -> None:
    """Each part uses only what is below it.

    A demo app is an application and may use an adapter, as may the doctor's checks of that.
    """
    used = {
        name.split(".")[1]
        for name in modules_of(path, path.read_text())
        if name.startswith(f"{OURS}.")
    }
    allowed = MAY_USE[part_of(path)] | CHECKS_OF_ADAPTERS.get(path, set())
    if path.is_relative_to(DEMO_APPS):
        allowed = allowed | set(ADAPTERS)
    assert used <= allowed


@pytest.mark.parametrize("part", ROOMS)
def test_every_room_has_its_place_and_says_what_it_holds(part: str) -> None:
    """There is none that is not in the table, nor a row for one that does not exist."""
    found = {path.parent for path in (ROOT / part).glob("*/__init__.py")}
    assert {room.name for room in found} == set().union(*ROOMS[part])
    assert all(ast.get_docstring(ast.parse((room / "__init__.py").read_text())) for room in found)


@pytest.mark.parametrize("part", ROOMS)
def test_room_uses_only_rooms_below(part: str) -> None:
    """So a reader of one room need not know those above it."""
    below: set[str | None] = {None}
    for step in ROOMS[part]:
        below |= step
        for path in (path for room in step for path in (ROOT / part / room).rglob("*.py")):
            names = [name.split(".") for name in modules_of(path, path.read_text())]
            used = {
                room_of(part, name[2]) for name in names if name[:2] == [OURS, part] if name[2:]
            }
            assert used <= below, path


@pytest.mark.parametrize(
    "path", [path for path in FILES if part_of(path) == "core"], ids=lambda path: path.name
)
def test_core_imports_only_api_and_standard_library(path: Path) -> None:
    """No framework, no SDK, no third party; but `patching` is about wrapt."""
    third = {"wrapt"} if path.name == "patching.py" else set()
    for name in modules_of(path, path.read_text()):
        top = name.split(".")[0]
        assert top in {OURS, "opentelemetry", *third} or top in sys.stdlib_module_names
        assert not name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_framework_is_imported_by_its_adapter_only(path: Path) -> None:
    """Core and SDK import no framework, and no adapter the framework of another."""
    tops = {name.split(".")[0] for name in modules_of(path, path.read_text())}
    foreign = {"core": {"celery", "kombu", "dramatiq"}, "sdk": {"celery", "kombu", "dramatiq"}}
    foreign |= {"celery": {"dramatiq"}, "dramatiq": {"celery", "kombu"}}
    assert not tops & foreign.get(part_of(path), set())


def test_files_named_in_contributing_exist() -> None:
    """Who follows a message by them finds each one."""
    text = (ROOT.parent / "CONTRIBUTING.md").read_text()
    places = (ROOT, ROOT / "core", *(ROOT / each for each in ADAPTERS), ROOT.parent)
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert named
    assert {name for name in named if not any((each / name).exists() for each in places)} == set()


def test_import_graph_has_relative_and_inner_imports() -> None:
    """Relative imports and those inside functions count, too."""
    source = "from . import a\nfrom ..sdk import b\ndef f():\n    import celery.app\n"
    assert modules_of(ROOT / "core" / "x.py", source) == {
        "otel_queue_plugins.core",
        "otel_queue_plugins.core.a",
        "otel_queue_plugins.sdk",
        "otel_queue_plugins.sdk.b",
        "celery.app",
    }


@pytest.mark.parametrize("module", [OURS, f"{OURS}.core.telemetry"])
def test_import_of_package_loads_neither_framework_nor_sdk(module: str) -> None:
    """And not wrapt, which patches what an adapter works with. Checked in a process of its own."""
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert module in loaded
    assert not [
        name
        for name in loaded
        if name.split(".")[0] in {"celery", "dramatiq", "kombu", "wrapt"}
        or name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))
    ]


def test_instrumenting_loads_neither_sdk_nor_exporters() -> None:
    """They come with the first use of a signal: a process that records nothing does without.

    wrapt comes with the adapter. asyncio and importlib.metadata, which it imports, are in every
    Celery worker anyway, and in whatever uses Redis; to a producer on AMQP they are two MiB.
    """
    program = (
        "import sys, opentelemetry.trace; before = set(sys.modules); "
        f"import {OURS}.core.telemetry, {OURS}.sdk.fastpath, {OURS}.dramatiq.instrumentor; "
        f"{OURS}.sdk.validate(); {OURS}.sdk.enable_log_correlation(); "
        "print('loaded', *sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert f"{OURS}.core.patching" in loaded
    libraries = ("opentelemetry.sdk", "opentelemetry.exporter", "google", "grpc", "requests")
    assert not [name for name in loaded if name.startswith(libraries)]
