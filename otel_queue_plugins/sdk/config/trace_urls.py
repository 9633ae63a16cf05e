"""The template for the URL of a trace: the setting, or what the OTLP endpoint says.

An endpoint of a vendor says where its traces are shown; one of a collector does not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from otel_queue_plugins.core.settings import definitions, problems
from otel_queue_plugins.core.settings.trace_templates import filled, of_backend
from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.sdk.config import profiles

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DATADOG: Final = re.compile(
    r"(?:otlp|trace\.agent)\.((?:\w+\.)?datadoghq\.(?:com|eu))|otlp\.(ddog-gov\.com)"
)
_NEW_RELIC: Final = re.compile(r"(?:otlp|otlp\.(eu)01)\.nr-data\.net")
_XRAY: Final = re.compile(r"xray\.([\w-]+)\.amazonaws\.com")
_GCP: Final = "telemetry.googleapis.com"
_UNKNOWN_SERVICE: Final = "unknown_service"
_DAY_S: Final = 86400.0


def url(
    environ: Mapping[str, str],
    trace_id: str,
    *,
    span_id: str = "",
    start: float | None = None,
    end: float | None = None,
) -> str | None:
    """The URL of a trace, by ids in hexadecimal; None if there is no template.

    Times are seconds since the epoch: without `end` it is now, without `start` a day before it.
    """
    pattern = template(environ)
    if pattern is None:
        return None
    until = time.time() if end is None else end
    since = until - _DAY_S if start is None else start
    return filled(
        pattern,
        {
            "trace_id": trace_id,
            "trace_id_head": trace_id[:8],
            "trace_id_tail": trace_id[8:],
            "span_id": span_id,
            "service": service(environ),
            "start_s": str(int(since)),
            "end_s": str(int(until) + 1),
        },
    )


def template(environ: Mapping[str, str]) -> str | None:
    """The template; None if there is none. A wrong setting is logged once, and counts as none."""
    variables = Variables(environ)
    if variables.value(definitions.TRACE_URL.variable):
        found = definitions.read(variables, definitions.TRACE_URL)
        problems.report(variables.problems)
        return found
    return _derived(variables)


def service(environ: Mapping[str, str]) -> str:
    """The name of the service in the environment."""
    name = environ.get("OTEL_SERVICE_NAME", "").strip()
    return name or _resource(environ).get("service.name") or _UNKNOWN_SERVICE


def _derived(variables: Variables) -> str | None:
    try:
        host = urlsplit(variables.value(*_ENDPOINTS)).hostname or ""
    except ValueError:
        return None
    if match := _DATADOG.fullmatch(host):
        site = match[1] or match[2]
        return of_backend("datadog", f"https://{'app.' * (site.count('.') == 1)}{site}")
    if match := _NEW_RELIC.fullmatch(host):
        return of_backend("newrelic", f"https://one.{'eu.' if match[1] else ''}newrelic.com")
    if match := _XRAY.fullmatch(host):
        return of_backend("xray", match[1])
    if host == _GCP:
        attributes = variables.value("OTEL_RESOURCE_ATTRIBUTES")
        project = _resource({"OTEL_RESOURCE_ATTRIBUTES": attributes}).get("gcp.project_id")
        return of_backend("gcp", project) if project else None
    return profiles.default_trace_url(variables)


def _resource(environ: Mapping[str, str]) -> dict[str, str]:
    pairs = (each.partition("=") for each in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs}
