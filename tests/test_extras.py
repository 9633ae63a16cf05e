"""Errors for missing packages say what to install."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.core.extras import required
from otel_queue_plugins.sdk.config import reader
from otel_queue_plugins.sdk.config.plan import read
from tests.environment import clean_environment

if TYPE_CHECKING:
    from tests.processes import Processes

HIDING = "import sys; sys.modules[{package!r}] = None; "
USES = {
    "celery": "import otel_queue_plugins.celery",
    "dramatiq": "from otel_queue_plugins.dramatiq import instrument",
}


@pytest.mark.parametrize("package", USES)
def test_import_of_adapter_without_framework_names_the_extra(
    processes: Processes, package: str
) -> None:
    """One line, and opentelemetry-instrument still leaves the adapter out."""
    code = (
        f"{HIDING.format(package=package)}\ntry:\n    {USES[package]}\n"
        "except ModuleNotFoundError as error:\n    print(error.name, '->', error)"
    )
    program = processes.start("program", [sys.executable, "-c", code], env=clean_environment())
    assert program.wait() == 0
    title = package.title()
    line = f"{title} is not installed: pip install 'otel-queue-plugins[{package}]'"
    assert program.log == f"{package} -> {line}\n"


@pytest.mark.parametrize(
    ("module", "protocol", "package", "other"),
    [
        ("grpc", "grpc", "opentelemetry-exporter-otlp-proto-grpc", "http/protobuf"),
        (
            "opentelemetry.exporter.otlp.proto.grpc",
            "grpc",
            "opentelemetry-exporter-otlp-proto-grpc",
            "http/protobuf",
        ),
        (
            "opentelemetry.exporter.otlp.proto.http",
            "http/protobuf",
            "opentelemetry-exporter-otlp-proto-http",
            "grpc",
        ),
    ],
)
def test_protocol_without_exporter_names_the_package(
    module: str, protocol: str, package: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what to install, or which protocol to use instead."""
    monkeypatch.setitem(sys.modules, module, None)
    environ = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4320",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    plan = read(environ)
    assert plan.exporters == {}
    line = f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r}: pip install {package}, or use {other}"
    assert [str(problem) for problem in plan.problems] == [line]


def test_unknown_exporter_name_suggests_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """For well-known exporters the line has the package."""
    monkeypatch.setattr(reader, "entry_points_of", lambda *_, **__: ())
    plan = read({"OTEL_METRICS_EXPORTER": "prometheus"})
    install = "'prometheus' is not installed: pip install opentelemetry-exporter-prometheus"
    assert [problem.fix for problem in plan.problems] == [install]


def test_required_raises_module_not_found_error() -> None:
    """Also for a submodule, with the name of the package."""
    with pytest.raises(ModuleNotFoundError) as raised, required("Shop", "shop"):
        raise ModuleNotFoundError("no", name="shop.cart")
    assert raised.value.name == "shop"
    assert str(raised.value) == "Shop is not installed: pip install 'otel-queue-plugins[shop]'"


def test_required_leaves_errors_of_other_packages() -> None:
    """A broken installation of a framework is not reported as a missing framework."""
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such'"), required("X", "x"):
        import no_such  # type: ignore[import-not-found]  # noqa: F401
