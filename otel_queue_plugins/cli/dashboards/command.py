"""Write the dashboards and alerts into a directory."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from otel_queue_plugins.cli.dashboards import datadog, grafana, honeycomb
from otel_queue_plugins.cli.dashboards.arguments import BACKENDS
from otel_queue_plugins.cli.queues.failures import REFUSED, USAGE, write_error

_NAME: Final = "otel-queue dashboards"


def dashboards(parsed: Namespace) -> int:
    """Run the command; the exit code: 0 written, 2 no such place, 4 refused."""
    files = contents(parsed.only or BACKENDS)
    try:
        others = [name for name, text in files.items() if _differs(parsed.directory / name, text)]
        if others and not parsed.force:
            write_error(_refusal(parsed.directory, others), _NAME)
            return REFUSED
        for name, text in files.items():
            _write(parsed.directory / name, text)
    except OSError as error:
        write_error(f"cannot write to {parsed.directory}: {error.strerror or error}", _NAME)
        return USAGE
    for name in files:
        print(parsed.directory / name)  # noqa: T201
    return 0


def contents(backends: tuple[str, ...] | list[str]) -> dict[str, str]:
    """The texts of all files for `backends`, by their names below the directory."""
    return {
        f"{backend}/{name}": text
        for backend in BACKENDS
        if backend in backends
        for name, text in _FILES[backend]().items()
    }


def _as_json(made: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value, indent=2) + "\n" for name, value in made.items()}


def _rules() -> dict[str, str]:
    place = resources.files(__package__) / "files"
    return {name: (place / name).read_text() for name in ("recording.yml", "alerts.yml")}


_FILES: Final[dict[str, Callable[[], dict[str, str]]]] = {
    "grafana": lambda: _as_json({"otel-queue.json": grafana.dashboard()}),
    "prometheus": _rules,
    "datadog": lambda: _as_json(
        {"dashboard.json": datadog.dashboard(), "monitors.json": datadog.monitors()}
    ),
    "honeycomb": lambda: _as_json(
        {"queries.json": honeycomb.queries(), "triggers.json": honeycomb.triggers()}
    ),
}


def _differs(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() != text


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _refusal(directory: Path, names: list[str]) -> str:
    return f"{directory / names[0]} is there with other content: --force overwrites it"
