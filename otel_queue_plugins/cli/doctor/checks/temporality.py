"""Whether the backend takes metrics in the temporality that they are sent with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from otel_queue_plugins.cli.doctor.checks import problems
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown
from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.sdk.config import profiles

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case

_VARIABLE: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_DELTA: Final = "delta"
_CUMULATIVE: Final = "cumulative"


class _Backend(NamedTuple):
    """What a backend takes; `is_needed` is False where it takes the other, too."""

    title: str
    takes: str
    is_needed: bool = True


# By the end of the host's name.
_HOSTS: Final = {
    "datadoghq.com": _Backend("Datadog", _DELTA),
    "datadoghq.eu": _Backend("Datadog", _DELTA),
    "ddog-gov.com": _Backend("Datadog", _DELTA),
    "dynatrace.com": _Backend("Dynatrace", _DELTA),
    "nr-data.net": _Backend("New Relic", _DELTA, is_needed=False),
    "grafana.net": _Backend("Grafana Cloud", _CUMULATIVE),
}
_PROMETHEUS: Final = _Backend("Prometheus", _CUMULATIVE)
_PROMETHEUS_PATH: Final = "/api/v1/otlp/"


def temporality(case: Case) -> Iterator[Finding]:
    """Known backends that take one alone, or are better with it."""
    found = list(problems.findings(case, "temporality"))
    target = next((each for each in case.targets() if each.signal == "metrics"), None)
    if found or target is None:
        yield from found
        return
    by_profile = profiles.default_temporality(Variables(case.environ))
    sent = case.value(_VARIABLE).lower() or by_profile or _CUMULATIVE
    backend = _backend(target.endpoint)
    if backend is None:
        yield fine(f"{sent}; nothing is known against it at this endpoint")
    elif sent == backend.takes:
        yield fine(f"{sent}, as {backend.title} wants it")
    elif backend.is_needed:
        yield broken(
            f"{backend.title} takes {backend.takes} temporality, and {sent} is sent",
            f"{_VARIABLE}={backend.takes}",
        )
    else:
        yield unknown(
            f"{backend.title} recommends {backend.takes} temporality, and {sent} is sent",
            f"{_VARIABLE}={backend.takes}",
        )


def _backend(endpoint: str) -> _Backend | None:
    url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    host = f".{url.hostname or ''}"
    named = next((each for end, each in _HOSTS.items() if host.endswith(f".{end}")), None)
    return named or (_PROMETHEUS if _PROMETHEUS_PATH in url.path else None)
