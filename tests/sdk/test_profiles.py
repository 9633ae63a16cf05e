"""Defaults and checks of settings by `OTEL_QUEUE_PROFILE`; the user's own choice is kept."""

from __future__ import annotations

from typing import Final

import pytest
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import AggregationTemporality

from otel_queue_plugins.core.profiles import PROFILES
from otel_queue_plugins.sdk.config import trace_urls
from otel_queue_plugins.sdk.config.metric_preferences import temporality
from otel_queue_plugins.sdk.config.plan import read

PROFILE: Final = "OTEL_QUEUE_PROFILE"
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
PREFERENCE: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
LENGTH: Final = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
COLLECTOR: Final = {ENDPOINT: "http://collector:4318"}
DATADOG: Final = {ENDPOINT: "https://otlp.datadoghq.com", PROFILE: "datadog"}
HONEYCOMB: Final = {ENDPOINT: "https://api.eu1.honeycomb.io", PROFILE: "honeycomb"}
NEW_RELIC: Final = {ENDPOINT: "https://otlp.nr-data.net", PROFILE: "newrelic"}
SENTRY: Final = {ENDPOINT: "https://o1.ingest.de.sentry.io/api/2/otlp", PROFILE: "sentry"}
XRAY: Final = {
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://xray.eu-west-1.amazonaws.com/v1/traces",
    PROFILE: "xray",
}
KEY: Final = "dd-api-key=0123456789,compute_stats=true"
SHORT: Final = {LENGTH: "4095"}

CASES: Final[list[tuple[dict[str, str], list[str]]]] = [
    ({**DATADOG, HEADERS: KEY}, []),
    ({**DATADOG, HEADERS: KEY, PREFERENCE: "delta"}, []),
    ({**DATADOG, HEADERS: KEY, PREFERENCE: "cumulative"}, ["Datadog wants delta"]),
    ({**DATADOG, HEADERS: "dd-api-key=0123456789"}, ["without compute_stats=true"]),
    ({**DATADOG}, ["no dd-api-key header"]),
    ({**DATADOG, HEADERS: KEY, PROTOCOL: "grpc"}, ["Datadog takes http/protobuf alone"]),
    ({**COLLECTOR, PROFILE: "datadog"}, []),
    ({**COLLECTOR, PROFILE: "datadog", PROTOCOL: "grpc", ENDPOINT: "http://collector:4317"}, []),
    ({**HONEYCOMB}, ["no x-honeycomb-team header"]),
    ({**HONEYCOMB, HEADERS: "x-honeycomb-team=k"}, ["the dataset unknown_metrics"]),
    ({**HONEYCOMB, HEADERS: "x-honeycomb-team=k,x-honeycomb-dataset=m"}, []),
    ({**NEW_RELIC, **SHORT, HEADERS: "api-key=k"}, []),
    ({**NEW_RELIC, **SHORT, PREFERENCE: "cumulative"}, ["New Relic wants delta"]),
    ({**NEW_RELIC}, ["New Relic drops longer values"]),
    ({**NEW_RELIC, LENGTH: "10000"}, ["New Relic drops longer values"]),
    ({**SENTRY}, ["Sentry takes no metrics"]),
    ({**SENTRY, "OTEL_METRICS_EXPORTER": "none"}, []),
    (
        {**SENTRY, "OTEL_METRICS_EXPORTER": "none", PROTOCOL: "grpc"},
        ["Sentry takes http/protobuf alone"],
    ),
    ({**XRAY}, ["X-Ray takes signed requests alone"]),
    ({**COLLECTOR, PROFILE: "xray"}, []),
    ({**COLLECTOR, PROFILE: "tempo"}, []),
    ({**HONEYCOMB, PROFILE: ""}, []),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_setting_that_the_backend_cannot_take_is_warned_of(case: int) -> None:
    """With what to do; no secret is shown, and what was chosen is used."""
    environ, advice = CASES[case]
    plan = read(environ)
    assert all(each.is_warning for each in plan.problems)
    told = [str(each) for each in plan.problems]
    assert len(told) == len(advice), told
    assert all(part in text for part, text in zip(advice, told, strict=True))
    assert not any("0123456789" in text for text in told)
    assert "traces" in plan.exporters


@pytest.mark.parametrize("profile", ["", *PROFILES])
@pytest.mark.parametrize("chosen", ["", "cumulative", "delta"])
def test_delta_is_the_default_of_those_that_want_it(profile: str, chosen: str) -> None:
    """A preference of the user's stays."""
    wanted = chosen or ("delta" if profile in {"datadog", "newrelic"} else "cumulative")
    found = temporality({PROFILE: profile, PREFERENCE: chosen})[Counter]
    assert found == AggregationTemporality[wanted.upper()]


@pytest.mark.parametrize(
    ("environ", "start"),
    [
        ({PROFILE: "datadog"}, "https://app.datadoghq.com/apm/"),
        ({PROFILE: "datadog", "DD_SITE": "us5.datadoghq.com"}, "https://us5.datadoghq.com/apm/"),
        ({PROFILE: "newrelic"}, "https://one.newrelic.com/"),
        ({PROFILE: "xray", "AWS_REGION": "eu-west-1"}, "https://eu-west-1.console.aws."),
        ({PROFILE: "datadog", "OTEL_QUEUE_TRACE_URL": "jaeger:http://j"}, "http://j/trace/"),
    ],
)
def test_profile_gives_the_url_of_a_trace(environ: dict[str, str], start: str) -> None:
    """Through an agent or a collector, too; a setting of the URL wins."""
    found = trace_urls.url({**COLLECTOR, **environ}, "ab" * 16)
    assert found is not None
    assert found.startswith(start)


@pytest.mark.parametrize(
    "environ", [{PROFILE: "xray"}, {PROFILE: "xray", "AWS_REGION": "a b"}, {PROFILE: "tempo"}]
)
def test_profile_without_a_known_place_gives_no_url(environ: dict[str, str]) -> None:
    """Nothing is guessed."""
    assert trace_urls.url({**COLLECTOR, **environ}, "ab" * 16) is None


def test_wrong_profile_counts_as_none() -> None:
    """For the settings; the options report it with the choices."""
    assert read({**COLLECTOR, PROFILE: "dynatrace"}).problems == ()
