"""One virtual environment per package under test, made once and kept."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FRAMEWORKS = ("celery[redis]==5.7.0", "kombu==5.7.0", "dramatiq[redis]==2.2.1")
_SDK = ("opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-common==1.45.2")
_EXPORTER = (*_SDK, "opentelemetry-exporter-otlp==1.45.2")
_REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "sdk": _SDK,
    "contrib": (*_SDK, "opentelemetry-instrumentation-celery==0.66b2"),
    "instrumentor": (*_SDK, "opentelemetry-instrumentor-dramatiq==0.1.4"),
    "ddtrace": ("ddtrace==4.16.0",),
    "sentry": ("sentry-sdk==2.75.0",),
    "prometheus": ("prometheus-client>=0.20",),
    "ours": (*_SDK, "-e", "."),
    "contrib-wire": (*_EXPORTER, "opentelemetry-instrumentation-celery==0.66b2"),
    "instrumentor-wire": (*_EXPORTER, "opentelemetry-instrumentor-dramatiq==0.1.4"),
}


class EnvironmentMissingError(Exception):
    """The environment is not there and could not be made (no network?)."""


class Environments:
    """Pythons of the environments under `cache`; an environment that exists needs no network."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def python(self, name: str) -> Path:
        """The interpreter of environment `name`, which is made if it is missing or out of date."""
        home = self._cache / name
        stamp, wanted = home / "bench-stamp", _stamp(name)
        if not stamp.exists() or stamp.read_text() != wanted:
            _make(home, [*_FRAMEWORKS, *_REQUIREMENTS[name]])
            stamp.write_text(wanted)
        return home / "bin" / "python"


def _stamp(name: str) -> str:
    text = repr((sys.version, _FRAMEWORKS, _REQUIREMENTS[name]))
    if name == "ours":
        text += (ROOT / "pyproject.toml").read_text()
    return hashlib.sha256(text.encode()).hexdigest()


def _make(home: Path, requirements: list[str]) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    python = home / "bin" / "python"
    try:
        if uv:
            _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home))
            _run(uv, "pip", "install", "--quiet", "--python", str(python), *requirements)
        else:
            venv.create(home, clear=True, with_pip=True)
            _run(str(python), "-m", "pip", "install", "--quiet", *requirements)
    except subprocess.CalledProcessError as error:
        raise EnvironmentMissingError(f"{home.name}: {error.stderr.strip()}") from error


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
