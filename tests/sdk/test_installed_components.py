"""Samplers, exporters and propagators of other packages, found by their entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from tests.environment import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Processes
    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Programs

PLUGIN = """
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased

def nothing(argument):
    print("sampler argument", argument)
    return ALWAYS_OFF

def no_sampler(argument):
    return object()

class Printing(SpanExporter):
    def export(self, spans):
        print("printed", [span.name for span in spans], flush=True)
        return SpanExportResult.SUCCESS

class Marking(TextMapPropagator):
    fields = {"x-mark"}

    def inject(self, carrier, context=None, setter=None):
        setter.set(carrier, "x-mark", "set")

    def extract(self, carrier, context=None, getter=None):
        return context
"""
ENTRY_POINTS = """
[opentelemetry_traces_sampler]
nothing = plugin:nothing
no_sampler = plugin:no_sampler
[opentelemetry_traces_exporter]
printing = plugin:Printing
[opentelemetry_propagator]
marking = plugin:Marking
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PYTHONPATH with an installed package that has entry points for all of them."""
    (tmp_path / "plugin.py").write_text(PLUGIN)
    metadata = tmp_path / "plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return f"{tmp_path}:{ROOT}"


def test_sampler_of_an_entry_point_is_built(
    programs: Programs, http_receiver: FaultyReceiver, path: str
) -> None:
    """It gets `OTEL_TRACES_SAMPLER_ARG` as it is written."""
    program = programs.start(
        "script",
        endpoint=http_receiver.endpoint,
        PYTHONPATH=path,
        OTEL_TRACES_SAMPLER="nothing",
        OTEL_TRACES_SAMPLER_ARG="endpoint=http://x",
    )
    assert program.wait() == 0
    assert "sampler argument endpoint=http://x" in program.log
    http_receiver.expect_total("work", 1, timeout=30)
    assert http_receiver.spans() == []


def test_sampler_factory_returning_something_else_turns_traces_off(
    programs: Programs, http_receiver: FaultyReceiver, path: str
) -> None:
    """A broken package is logged, and never stops the application."""
    program = programs.start(
        "script",
        endpoint=http_receiver.endpoint,
        PYTHONPATH=path,
        OTEL_TRACES_SAMPLER="no_sampler",
    )
    assert program.wait() == 0
    assert "no_sampler made a object, not a Sampler" in program.log
    http_receiver.expect_total("work", 1, timeout=30)
    assert http_receiver.spans() == []


def test_exporter_of_an_entry_point_is_used(programs: Programs, path: str) -> None:
    """`OTEL_TRACES_EXPORTER` may name any installed exporter, without an endpoint."""
    program = programs.start("script", PYTHONPATH=path, OTEL_TRACES_EXPORTER="printing")
    assert program.wait() == 0
    assert "printed ['script']" in program.log


@pytest.mark.parametrize(
    ("propagators", "keys"),
    [
        ("", {"traceparent"}),
        ("none", set()),
        ("b3", {"b3"}),
        ("b3multi", {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}),
        ("tracecontext,b3", {"traceparent", "b3"}),
        ("datadog", {"traceparent"}),
        ("datadog,b3", {"b3"}),
    ],
)
def test_propagators_of_the_environment_are_used(
    programs: Programs, http_receiver: FaultyReceiver, propagators: str, keys: set[str]
) -> None:
    """Unknown ones are removed: with one the API could not be imported."""
    program = programs.start(
        "carrying", endpoint=http_receiver.endpoint, OTEL_PROPAGATORS=propagators
    )
    assert program.wait() == 0
    assert program.log.splitlines()[-1] == f"carrier {sorted(keys)}"
    assert ("datadog: not installed" in program.log) is ("datadog" in propagators)


def test_propagator_of_an_entry_point_is_used(programs: Programs, path: str) -> None:
    """Packages for `jaeger`, `xray` and others have one."""
    program = programs.start("carrying", PYTHONPATH=path, OTEL_PROPAGATORS="tracecontext,marking")
    assert program.wait() == 0
    assert program.log == "carrier ['x-mark']\n"


@pytest.mark.parametrize(
    ("name", "package"),
    [("jaeger", "jaeger"), ("xray", "aws-xray"), ("ottrace", "ot-trace")],
)
def test_propagator_that_is_not_installed_is_reported_with_its_package(
    programs: Programs, http_receiver: FaultyReceiver, name: str, package: str
) -> None:
    """The line says which package to install; the others in the list are used."""
    if entry_points(group="opentelemetry_propagator", name=name):
        pytest.skip(f"{name} is installed")
    program = programs.start(
        "carrying", endpoint=http_receiver.endpoint, OTEL_PROPAGATORS=f"tracecontext,{name}"
    )
    assert program.wait() == 0
    problem, carrier = program.log.splitlines()
    assert f"pip install opentelemetry-propagator-{package}; it is left out" in problem
    assert carrier == "carrier ['traceparent']"


@pytest.mark.parametrize(
    "module", ["otel_queue_plugins.core.carrier.propagation", "otel_queue_plugins"]
)
def test_unknown_propagator_stops_no_import(processes: Processes, module: str) -> None:
    """Whichever module of ours is imported first; strict mode still refuses to start."""
    code = f"import {module}; from otel_queue_plugins import sdk; sdk.validate(); print('runs')"
    env = clean_environment(OTEL_PROPAGATORS="datadog")
    lenient = processes.python("-c", code, env=env)
    assert lenient.wait() == 0
    lenient.wait_for_log("runs")
    assert lenient.log.count("OTEL_PROPAGATORS='datadog': datadog: not installed") == 1
    strict = processes.python("-c", code, env={**env, "OTEL_QUEUE_STRICT": "true"})
    assert strict.wait() == 1
    assert "ConfigurationError: OTEL_PROPAGATORS='datadog'" in strict.log
