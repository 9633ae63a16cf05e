"""Providers are set up from the environment, once, when they are needed and nobody has set them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import timeit
from typing import TYPE_CHECKING

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import TracerProvider

from otel_queue_plugins import sdk
from tests.environment import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Programs, Receiver


def test_import_and_validate_load_no_sdk() -> None:
    """Neither the SDK nor an exporter is imported while no exporter is configured."""
    code = (
        "import sys, json; from otel_queue_plugins import sdk; sdk.validate();"
        "sdk.ensure_providers(); sdk.flush();"
        "print(json.dumps([name for name in sys.modules if name.startswith(("
        "'opentelemetry.sdk', 'opentelemetry.exporter', 'grpc', 'requests', 'celery'))]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, check=True
    )
    assert json.loads(done.stdout) == []
    assert done.stderr == b""


def test_setup_without_variables_does_nothing(programs: Programs) -> None:
    """No SDK, no warning, no waiting."""
    idle = programs.start("idle")
    assert idle.wait() == 0
    assert idle.log == "flushed True sdk False\n"


def test_endpoint_alone_exports_traces_and_metrics(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """With the name of the service; logs only when asked for."""
    assert programs.start("script", endpoint=receiver.endpoint, protocol=protocol).wait() == 0
    span = receiver.expect_span("script", timeout=30)
    assert span.service == "program"
    receiver.expect_total("work", 1, timeout=30)
    receiver.expect_total("took", 1, timeout=30)
    assert receiver.requests("/v1/logs") == []


def test_empty_endpoint_of_a_signal_turns_it_off(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """`OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=` exports traces only."""
    program = programs.start(
        "script", endpoint=http_receiver.endpoint, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=""
    )
    assert program.wait() == 0
    http_receiver.expect_span("script", timeout=30)
    assert http_receiver.requests("/v1/metrics") == []


@pytest.mark.parametrize(
    "off", [{"OTEL_QUEUE_SETUP": "off"}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_X": ""}]
)
def test_switched_off_setup_exports_nothing(
    programs: Programs, http_receiver: FaultyReceiver, off: dict[str, str]
) -> None:
    """Either variable turns it off; an unknown one does not."""
    assert programs.start("script", endpoint=http_receiver.endpoint, **off).wait() == 0
    assert bool(http_receiver.requests()) is ("OTEL_X" in off)


def test_application_providers_are_used_unchanged(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """There is no log line about `OTEL_*` either."""
    program = programs.start(
        "own_providers", endpoint=http_receiver.endpoint, OTEL_TRACES_EXPORTER="nonsense"
    )
    assert program.wait() == 0
    http_receiver.expect_span("script", timeout=30)
    http_receiver.expect_total("work", 1, timeout=30)
    assert program.log == "unchanged True\n"


def test_headers_compression_and_sampler_are_used_in_export(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """They are read as specified, and sent to the backend."""
    program = programs.start(
        "script",
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_EXPORTER_OTLP_HEADERS="Authorization=Basic abc==,x-team=a%20b",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_TRACES_SAMPLER="ALWAYS_ON",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test,team=a%2Cb",
    )
    assert program.wait() == 0
    span = receiver.expect_span("script", timeout=30)
    assert span.resource["team"] == "a,b"
    assert {request.headers["authorization"] for request in receiver.requests()} == {"Basic abc=="}
    assert {request.headers["x-team"] for request in receiver.requests()} == {"a b"}


def test_sampler_of_the_environment_is_used(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """`always_off`: metrics, and no spans."""
    program = programs.start(
        "script", endpoint=http_receiver.endpoint, OTEL_TRACES_SAMPLER="always_off"
    )
    assert program.wait() == 0
    http_receiver.expect_total("work", 1, timeout=30)
    assert http_receiver.spans() == []


@pytest.mark.parametrize(
    ("preference", "temporalities"),
    [("", {"cumulative"}), ("DELTA", {"delta"}), ("lowmemory", {"delta"})],
)
def test_temporality_preference_is_used(
    programs: Programs, http_receiver: FaultyReceiver, preference: str, temporalities: set[str]
) -> None:
    """Datadog takes delta only, Prometheus cumulative only."""
    program = programs.start(
        "script",
        endpoint=http_receiver.endpoint,
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=preference,
    )
    assert program.wait() == 0
    http_receiver.expect_total("work", 1, timeout=30)
    points = [point for point in http_receiver.points() if point.name in {"work", "took"}]
    assert {point.temporality for point in points} == temporalities


def test_empty_variables_break_no_export(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """The SDK fails on several empty variables."""
    program = programs.start(
        "script",
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_METRICS_EXEMPLAR_FILTER="",
        OTEL_EXPORTER_OTLP_TIMEOUT="",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="",
        OTEL_EXPORTER_OTLP_COMPRESSION="",
        OTEL_EXPORTER_OTLP_HEADERS="",
        OTEL_TRACES_SAMPLER="",
        OTEL_PROPAGATORS="",
    )
    assert program.wait() == 0
    receiver.expect_span("script", timeout=30)
    receiver.expect_total("work", 1, timeout=30)
    assert re.fullmatch(r"a record\nends\nleft after [\d.]+ s\n", program.log)


def test_console_exporter_needs_no_endpoint(programs: Programs) -> None:
    """`OTEL_TRACES_EXPORTER=console` alone: spans on stdout, and no metrics."""
    program = programs.start("script", OTEL_TRACES_EXPORTER="console")
    assert program.wait() == 0
    assert '"name": "script"' in program.log
    assert "resource_metrics" not in program.log


def test_wrong_setting_turns_off_its_signal_only(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """The application runs, and one line has the problem."""
    program = programs.start(
        "script", endpoint=http_receiver.endpoint, OTEL_TRACES_SAMPLER="sometimes"
    )
    assert program.wait() == 0
    http_receiver.expect_total("work", 1, timeout=30)
    assert http_receiver.spans() == []
    assert program.log.count("OTEL_TRACES_SAMPLER='sometimes'") == 1


def test_strict_mode_raises_at_the_start(programs: Programs, http_receiver: FaultyReceiver) -> None:
    """`OTEL_QUEUE_STRICT=true`: a worker without telemetry is not wanted."""
    program = programs.start(
        "script",
        endpoint=http_receiver.endpoint,
        OTEL_TRACES_SAMPLER="sometimes",
        OTEL_QUEUE_STRICT="true",
    )
    assert program.wait() == 1
    assert "ConfigurationError: OTEL_TRACES_SAMPLER='sometimes'" in program.log


@pytest.mark.timing
def test_ensure_providers_called_again_is_cheap() -> None:
    """Adapters call it for each message: less than 20 calls of an empty function (1 us)."""

    def fastest(function: Callable[[], object]) -> float:
        # Short enough that one has the processor for itself, whatever else the machine does.
        return min(timeit.repeat(function, repeat=500, number=100))

    sdk.ensure_providers()
    assert fastest(sdk.ensure_providers) < 20 * fastest(lambda: None)


def test_flush_works_on_providers_of_the_application() -> None:
    """Also if one is not the SDK's, has no flush, or fails to flush."""

    class Failing(TracerProvider):
        def force_flush(self, timeout_millis: int = 0) -> bool:
            raise RuntimeError(timeout_millis)

    trace.set_tracer_provider(Failing(shutdown_on_exit=False))
    metrics.set_meter_provider(metrics.NoOpMeterProvider())
    assert sdk.flush(1) is True
