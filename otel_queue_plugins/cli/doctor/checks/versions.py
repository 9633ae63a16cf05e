"""What is installed, and whether this package supports it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from platform import python_version
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown
from otel_queue_plugins.version import VERSION

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case

_OURS: Final = "otel-queue-plugins"
_REQUIREMENT: Final = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*>=\s*([\w.]+)\s*(?:;(.*))?")
_EXTRA: Final = re.compile(r"extra\s*==\s*[\"'](\w+)[\"']")
_EXTRAS: Final = ("celery", "dramatiq", "cli", "prometheus")
_OF_ONE_RELEASE: Final = (
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-proto",
    "opentelemetry-exporter-otlp-proto-common",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-proto-grpc",
)


def versions(_case: Case) -> Iterator[Finding]:
    """At least those that the metadata of this package asks for."""
    try:
        metadata = distribution(_OURS)
    except PackageNotFoundError:
        yield unknown(f"{_OURS} {VERSION} is not installed, but run from its source")
        return
    shown = [f"{_OURS} {VERSION}", f"Python {python_version()}"]
    too_old = []
    for name, least in _required(metadata.requires or ()):
        found = _version(name)
        if found is None:
            continue
        shown.append(f"{name} {found}")
        if _numbers(found) < _numbers(least):
            too_old.append(broken(f"{name} {found} is too old", f"pip install '{name}>={least}'"))
    yield from too_old or [fine(", ".join(dict.fromkeys(shown)))]


def opentelemetry_release(_case: Case) -> Iterator[Finding]:
    """OpenTelemetry's own packages are of one release: they use private names of each other."""
    found = {name: text for name in _OF_ONE_RELEASE if (text := _version(name))}
    releases = {_numbers(text)[:2] for text in found.values()}
    if len(releases) <= 1:
        yield fine("OpenTelemetry's packages are of one release")
        return
    listed = ", ".join(f"{name} {text}" for name, text in found.items())
    yield broken(f"not of one release: {listed}", f"pip install --upgrade {' '.join(found)}")


def _required(lines: list[str] | tuple[()]) -> Iterator[tuple[str, str]]:
    for line in lines:
        match = _REQUIREMENT.match(line)
        extra = _EXTRA.search(match[3] or "") if match else None
        if match and (extra is None or extra[1] in _EXTRAS):
            yield match[1], match[2]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    release = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, release[0].split("."))) if release else ()
