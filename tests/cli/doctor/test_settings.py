"""Settings that are wrong: found without a connection, with the line to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import metrics, propagate, trace

from otel_queue_plugins.cli.doctor.checks import versions
from tests import configuration_file
from tests.cli.doctor.conftest import SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    from tests.cli.doctor.conftest import Doctor

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
GOOD = {"OTEL_SERVICE_NAME": "shop", ENDPOINT: "http://collector:4318"}


def test_good_environment_is_fine(doctor: Doctor) -> None:
    """Nothing is broken; what was not asked is unknown, and the exit code is 0."""
    found = doctor("--offline", **GOOD)
    assert (found.code, found.broken(), found.err) == (0, {}, "")
    assert {each["ok"] for each in found.of("backend")} == {None}
    assert found.document["trace_id"] is found.document["trace_url"] is None
    assert [each["what"] for each in found.of("propagators")] == [
        "a message carries traceparent, baggage, otq"
    ]


@pytest.mark.parametrize(
    ("environ", "check", "said"),
    [
        ({"OTEL_QUEUE_RELASHUN": "link"}, "variable_names", "did you mean OTEL_QUEUE_RELATION?"),
        ({"OTEL_SERVICE_NMAE": "x"}, "variable_names", "did you mean OTEL_SERVICE_NAME?"),
        ({"OTEL_EXPORTER_OTLP_HEADER": "a=b"}, "variable_names", "OTEL_EXPORTER_OTLP_HEADERS?"),
        ({"OTEL_QUEUE_RELATION": "parent"}, "settings", "OTEL_QUEUE_RELATION='parent'"),
        ({"OTEL_BSP_SCHEDULE_DELAY": "soon"}, "settings", "OTEL_BSP_SCHEDULE_DELAY"),
        ({"OTEL_SDK_DISABLED": "true"}, "providers", "unset OTEL_SDK_DISABLED"),
        ({"OTEL_QUEUE_SETUP": "off"}, "providers", "unset OTEL_QUEUE_SETUP"),
        ({ENDPOINT: ""}, "providers", f"{ENDPOINT}=http://localhost:4318"),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "sampler", "no trace is begun"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
            "sampler",
            "no trace is begun",
        ),
        ({"OTEL_TRACES_SAMPLER": "nearly_all"}, "sampler", "'nearly_all'"),
        ({"OTEL_PROPAGATORS": "tracecontext,datadog"}, "propagators", "datadog: not installed"),
        ({"OTEL_PROPAGATORS": "b3,xray"}, "propagators", "opentelemetry-propagator-aws-xray"),
        ({ENDPOINT: "http://collector:4317"}, "endpoint", "use port 4318"),
        (
            {ENDPOINT: "http://collector:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "endpoint",
            "use port 4317",
        ),
        ({ENDPOINT: "collector:4318"}, "endpoint", "http://collector:4318"),
        ({ENDPOINT: "http://collector:4318/v1/traces"}, "endpoint", "write it without"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318"},
            "endpoint",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://collector:4318/v1/traces",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http"}, "endpoint", "http/protobuf, grpc"),
        ({HEADERS: SECRET}, "headers", "entry 1 is not key=value"),
        ({HEADERS: f"{SECRET}=="}, "headers", "has no value"),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such.pem"}, "tls", "no readable file"),
        (
            {"GRPC_ENABLE_FORK_SUPPORT": "0", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "pool",
            "forked children would hang",
        ),
        ({ENDPOINT: "https://otlp.datadoghq.com"}, "temporality", f"{TEMPORALITY}=delta"),
        (
            {ENDPOINT: "https://abc.live.dynatrace.com/api/v2/otlp", TEMPORALITY: "lowmemory"},
            "temporality",
            f"{TEMPORALITY}=delta",
        ),
        (
            {ENDPOINT: "https://otlp-gateway-x.grafana.net/otlp", TEMPORALITY: "delta"},
            "temporality",
            f"{TEMPORALITY}=cumulative",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://prom:9090/api/v1/otlp/v1/metrics",
                TEMPORALITY: "delta",
            },
            "temporality",
            f"{TEMPORALITY}=cumulative",
        ),
        ({TEMPORALITY: "sometimes"}, "temporality", "cumulative, delta"),
    ],
)
def test_wrong_setting_is_broken(
    doctor: Doctor, environ: dict[str, str], check: str, said: str
) -> None:
    """In the check that is about it, with the variable and what to write; the exit code is 1."""
    found = doctor("--offline", **{**GOOD, **environ})
    assert found.code == 1
    assert any(said in each for each in found.broken()[check]), found.out


def test_without_any_setting_the_line_to_add_is_said(doctor: Doctor) -> None:
    """Nothing is exported."""
    found = doctor("--offline")
    assert found.broken() == {
        "providers": [
            f"nothing is exported: no endpoint is named -> {ENDPOINT}=http://localhost:4318"
        ]
    }


@pytest.mark.parametrize("value", ["none", "baggage"])
def test_message_without_a_trace_is_broken(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The propagators are those that the process has, whoever has set them."""
    from opentelemetry import propagate
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.propagators.composite import CompositePropagator

    parts = [W3CBaggagePropagator()] if value == "baggage" else []
    monkeypatch.setattr(propagate, "propagators", parts)
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", CompositePropagator(parts), raising=False)
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator(parts))
    try:
        found = doctor("--offline", **GOOD)
    finally:
        propagate.set_global_textmap(before)
    assert "OTEL_PROPAGATORS=tracecontext,baggage" in found.broken()["propagators"][0]


def test_recommended_temporality_is_no_fault(doctor: Doctor) -> None:
    """New Relic takes both: that is not broken, and the line is there all the same."""
    found = doctor("--offline", **{**GOOD, ENDPOINT: "https://otlp.nr-data.net"})
    (row,) = found.of("temporality")
    assert (row["ok"], row["fix"]) == (None, f"{TEMPORALITY}=delta")
    found = doctor(
        "--offline", **{**GOOD, ENDPOINT: "https://otlp.nr-data.net"}, **{TEMPORALITY: "delta"}
    )
    assert found.of("temporality")[0]["ok"] is True


def test_names_of_headers_are_shown_and_no_value(doctor: Doctor) -> None:
    """Which variable sends which."""
    found = doctor("--offline", **GOOD, **{HEADERS: f"api-key={SECRET},x-team=t"})
    assert [each["what"] for each in found.of("headers")] == [f"{HEADERS} sends api-key, x-team"]


def test_service_without_a_name_is_not_known_to_be_wrong(doctor: Doctor) -> None:
    """The name under which it will be found is said."""
    found = doctor("--offline", **{ENDPOINT: GOOD[ENDPOINT]})
    assert [(each["ok"], each["fix"]) for each in found.of("service")] == [
        (None, "OTEL_SERVICE_NAME=shop")
    ]
    assert found.code == 0


def test_providers_of_the_application_are_named(
    doctor: Doctor, tracer_provider: TracerProvider, meter_provider: MeterProvider
) -> None:
    """And nothing is said about settings that have no effect then."""
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(meter_provider)
    found = doctor("--offline", OTEL_TRACES_SAMPLER="nearly_all", **{ENDPOINT: "collector:4318"})
    assert (found.code, found.broken()) == (0, {})
    first, second, third = (each["what"] for each in found.of("providers"))
    assert first == "traces: the application's own, opentelemetry.sdk.trace.TracerProvider"
    assert second.startswith("metrics: the application's own, opentelemetry.sdk.metrics.")
    assert third.startswith("logs: off")
    assert found.of("endpoint") == []


def test_version_that_is_too_old_is_broken(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install; the least versions are those of this package's metadata."""
    installed = versions.version
    monkeypatch.setattr(
        versions, "version", lambda name: "5.2.9" if name == "celery" else installed(name)
    )
    found = doctor("--offline", **GOOD)
    assert found.broken() == {
        "versions": ["celery 5.2.9 is too old -> pip install 'celery>=5.3.6'"]
    }


def test_opentelemetry_of_two_releases_is_broken(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packages are named with their versions."""
    installed = versions.version
    monkeypatch.setattr(
        versions,
        "version",
        lambda name: "1.39.0" if name == "opentelemetry-api" else installed(name),
    )
    (line,) = doctor("--offline", **GOOD).broken()["opentelemetry_release"]
    assert "opentelemetry-api 1.39.0" in line
    assert "pip install --upgrade opentelemetry-api" in line


def test_certificate_that_is_none_is_broken(
    doctor: Doctor, tmp_path: Path, certificate: Path
) -> None:
    """Also a client's that does not belong to its key."""
    wrong = tmp_path / "empty.pem"
    wrong.write_text("not a certificate\n")
    environ = {**GOOD, ENDPOINT: "https://collector:4318"}
    found = doctor("--offline", **environ, OTEL_EXPORTER_OTLP_CERTIFICATE=str(wrong))
    assert found.broken() == {
        "tls": [f"{wrong} has no certificate -> OTEL_EXPORTER_OTLP_CERTIFICATE=/path/of/ca.pem"]
    }
    found = doctor(
        "--offline",
        **environ,
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=str(certificate),
        OTEL_EXPORTER_OTLP_CLIENT_KEY=str(wrong),
    )
    assert "do not belong together" in found.broken()["tls"][0]


def test_check_that_fails_is_unknown(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are run."""

    def fail(*_: object) -> str:
        raise RuntimeError(f"redis://user:{SECRET}@host")

    monkeypatch.setattr(versions, "python_version", fail)
    found = doctor("--offline", **GOOD)
    (row,) = found.of("versions")
    assert row["ok"] is None
    assert "this check has failed: RuntimeError: redis://***@host" in row["what"]
    assert found.of("backend")


def test_file_of_opentelemetry_is_examined(doctor: Doctor, tmp_path: Path) -> None:
    """It is loaded; what only the loader knows is unknown, and the propagator is the file's."""
    parts = (configuration_file.TRACES, "propagator: {{composite: [{{b3: {{}}}}]}}\n")
    environ = configuration_file.write(tmp_path / "otel.yaml", *parts)
    before = propagate.get_global_textmap()
    try:
        found = doctor("--offline", **environ, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    finally:
        propagate.set_global_textmap(before)
    assert (found.code, found.broken()) == (0, {})
    (traces, *off) = [each["what"] for each in found.of("providers")]
    assert traces == f"traces: set up by this package, the exporters of {tmp_path / 'otel.yaml'}"
    assert off == [
        "metrics: off; OTEL_CONFIG_FILE has no meter_provider",
        "logs: off; OTEL_CONFIG_FILE has no logger_provider",
    ]
    assert [each["ok"] for each in found.of("backend")] == [None]
    assert [each["what"] for each in found.of("propagators")] == ["a message carries b3, otq"]
    (unread,) = [each["what"] for each in found.of("settings") if each["ok"] is None]
    assert "OTEL_CONFIG_FILE" in unread


def test_file_of_opentelemetry_that_is_wrong_is_broken(doctor: Doctor, tmp_path: Path) -> None:
    """With what the loader says."""
    environ = configuration_file.write(tmp_path / "otel.yaml", "tracer_provider: 7\n")
    found = doctor("--offline", **environ)
    assert found.code == 1
    (said,) = found.broken()["settings"]
    assert "it cannot be used: ConfigurationError: " in said
