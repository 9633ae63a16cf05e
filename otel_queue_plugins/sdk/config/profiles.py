"""What a backend, named by `OTEL_QUEUE_PROFILE`, cannot take, and what it wants by default.

A user's own choice is kept; where it does not fit, a warning says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from otel_queue_plugins.core.options import SETTINGS
from otel_queue_plugins.core.settings.trace_templates import of_backend
from otel_queue_plugins.sdk.config import targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_queue_plugins.core.settings.variables import Variables
    from otel_queue_plugins.sdk.config.reader import Environment

    Exporters = Mapping[str, tuple[targets.Target | str, ...]]

_VARIABLE: Final = SETTINGS["profile"].variable
_TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_VALUE_LIMIT: Final = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
_WANT_DELTA: Final = {"datadog": "Datadog", "newrelic": "New Relic"}
_HOSTS: Final = {
    "datadog": re.compile(r"otlp\.(\w+\.)?(datadoghq\.(com|eu)|ddog-gov\.com)"),
    "honeycomb": re.compile(r"api\.(eu1\.)?honeycomb\.io"),
    "sentry": re.compile(r"\w+\.ingest\.([\w-]+\.)?sentry\.io"),
    "xray": re.compile(r"xray\.[\w-]+\.amazonaws\.com"),
}
_HTTP_ALONE: Final = {"datadog": "Datadog", "sentry": "Sentry", "xray": "X-Ray"}
_NEW_RELIC_LONGEST: Final = 4095


def profile(variables: Variables) -> str:
    """The name of the profile, "" for none; a wrong one counts as none."""
    setting = SETTINGS["profile"]
    try:
        return str(setting.kind.parse(variables.value(_VARIABLE)))
    except ValueError:  # the options report it
        return ""


def default_temporality(variables: Variables) -> str:
    """The preference where `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` is unset."""
    return "delta" if profile(variables) in _WANT_DELTA else ""


def default_trace_url(variables: Variables) -> str | None:
    """The template for the URL of a trace, where it is known without an endpoint."""
    name = profile(variables)
    if name == "datadog":
        site = variables.value("DD_SITE") or "datadoghq.com"
        return _of(name, f"https://{'app.' * (site.count('.') == 1)}{site}")
    if name == "newrelic":
        return _of(name, "https://one.newrelic.com")
    region = variables.value("AWS_REGION", "AWS_DEFAULT_REGION")
    return _of(name, region) if name == "xray" and region else None


def check(environment: Environment, exporters: Exporters) -> None:
    """Warn of settings that the backend cannot take."""
    name = profile(environment)
    if "metrics" in exporters:
        _check_metrics(environment, name)
    for signal, chosen in exporters.items():
        for target in chosen:
            if isinstance(target, targets.Target) and _is_direct(name, target):
                _check_protocol(environment, name, signal, target)
                _check_headers(environment, name, signal, target)
                _check_signature(environment, name, signal, target)
    if name == "newrelic":
        _check_length(environment)


def _of(name: str, base: str) -> str | None:
    try:
        return of_backend(name, base)
    except ValueError:
        return None


def _is_direct(name: str, target: targets.Target) -> bool:
    """Whether the backend itself gets what is sent, not a collector or an agent."""
    pattern = _HOSTS.get(name)
    host = urlsplit(target.endpoint).hostname or ""
    return pattern is not None and pattern.fullmatch(host) is not None


def _check_metrics(environment: Environment, name: str) -> None:
    chosen = environment.value(_TEMPORALITY)
    if name in _WANT_DELTA and chosen and chosen.lower() != "delta":
        advice = f"{_WANT_DELTA[name]} wants delta; unset it, or send through a collector"
        environment.warn(_TEMPORALITY, advice, "metrics")
    if name == "sentry":
        advice = "Sentry takes no metrics over OTLP: set it to none, or send them elsewhere"
        environment.warn("OTEL_METRICS_EXPORTER", advice, "metrics")


def _check_protocol(
    environment: Environment, name: str, signal: str, target: targets.Target
) -> None:
    if name in _HTTP_ALONE and target.protocol == targets.GRPC:
        advice = f"{_HTTP_ALONE[name]} takes http/protobuf alone"
        environment.warn("OTEL_EXPORTER_OTLP_PROTOCOL", advice, signal)


def _check_headers(
    environment: Environment, name: str, signal: str, target: targets.Target
) -> None:
    """Headers may be secret, so that their values are not shown."""
    headers = {key.lower() for key, _ in target.headers}
    variable = target.headers_by or "OTEL_EXPORTER_OTLP_HEADERS"
    advice = ""
    if name == "honeycomb" and "x-honeycomb-team" not in headers:
        advice = "Honeycomb refuses what has no x-honeycomb-team header"
    elif name == "honeycomb" and signal == "metrics" and "x-honeycomb-dataset" not in headers:
        advice = "without x-honeycomb-dataset metrics go to the dataset unknown_metrics"
    elif name == "datadog" and "dd-api-key" not in headers:
        advice = "Datadog refuses what has no dd-api-key header"
    elif name == "datadog" and signal == "traces" and "compute_stats" not in headers:
        advice = "without compute_stats=true Datadog makes no metrics of traces"
    if advice:
        environment.warn(variable, advice, signal, value="")


def _check_signature(
    environment: Environment, name: str, signal: str, target: targets.Target
) -> None:
    if name == "xray":
        advice = "X-Ray takes signed requests alone: send to a collector with sigv4auth"
        environment.warn(target.named_by, advice, signal)


def _check_length(environment: Environment) -> None:
    limit = environment.value(_VALUE_LIMIT)
    if not limit.isdigit() or int(limit) > _NEW_RELIC_LONGEST:
        advice = f"New Relic drops longer values: set it to {_NEW_RELIC_LONGEST}"
        environment.warn(_VALUE_LIMIT, advice, "traces")
