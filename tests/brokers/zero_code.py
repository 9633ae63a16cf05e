"""`opentelemetry-instrument` in front of a command, with or without a distribution."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

_DISTRO = """
import os
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

class Configurator(_OTelSDKConfigurator):
    pass

class Distro(BaseDistro):
    def _configure(self, **kwargs):
        os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp")
        os.environ.setdefault("OTEL_METRICS_EXPORTER", "otlp")
"""
_POINTS = """
[opentelemetry_distro]
distro = a_distro:Distro
[opentelemetry_configurator]
configurator = a_distro:Configurator
"""


def install_distro(directory: Path) -> None:
    """Write what `opentelemetry-distro` brings, as an installed distribution."""
    (directory / "a_distro.py").write_text(_DISTRO)
    info = directory / "a_distro-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-distro\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_POINTS)


def launcher() -> str:
    """Return the path of `opentelemetry-instrument`; skip the test without it."""
    found = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("opentelemetry-instrumentation is not installed")
    return found
